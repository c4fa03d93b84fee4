"""Whether a proxy may take the place of another one, or serve beside it: decisions and messages."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kato_consul import ConfigurationError, Settings
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server.handover import RunningProxy
from kato_consul.proxy.server.identity import Identity
from kato_consul.proxy.server.succession import check_succession, in_use

OWN = Identity.of(
    ServerOptions(prefix="/kato"),
    Settings(session_directory="redis://:old@10.0.0.1:6379/0"),
)
REPLACE, SHARE = ServerOptions(replace=True), ServerOptions(share_port=True)


@pytest.fixture
def running() -> Iterator[RunningProxy]:
    """A proxy of this user."""
    with socket.socket() as connection:
        yield RunningProxy(6256, os.geteuid(), OWN, connection)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"service": "other"}, "serves the service other, and this one kato"),
        ({"tls": True}, "serves https, and this one http"),
        ({"prefix": ""}, "serves below /, and this one below /kato"),
        ({"asks": "keys"}, "asks callers for keys, and this one for nothing"),
        (
            {"instances": ""},
            (
                "may use other instances than this one (CONSUL_HTTP_ADDR, KATO_URL, "
                "CONSUL_NAMESPACE, tags, or another setting that selects them)"
            ),
        ),
        ({"directory": ""}, "has another session directory than this one"),
    ],
)
@pytest.mark.parametrize(("options", "option"), [(REPLACE, "--replace"), (SHARE, "--share-port")])
def test_refused(
    running: RunningProxy,
    options: ServerOptions,
    option: str,
    change: dict[str, Any],
    message: str,
) -> None:
    """What serves something else."""
    other = running._replace(identity=replace(OWN, **change))
    with pytest.raises(ConfigurationError) as raised:
        check_succession(options, OWN, other)
    expected = f"{option}: process 6256, which serves 127.0.0.1:8000, {message}: callers would"
    assert str(raised.value).startswith(expected)


def test_other_pid_namespace(running: RunningProxy) -> None:
    """A proxy that cannot be ended from here cannot be replaced, and can be joined."""
    other = running._replace(pid=0)
    check_succession(SHARE, OWN, other)
    with pytest.raises(ConfigurationError, match=r"PID namespace.* give --share-port"):
        check_succession(REPLACE, OWN, other)


@pytest.mark.parametrize(("options", "option"), [(REPLACE, "--replace"), (SHARE, "--share-port")])
def test_other_version(running: RunningProxy, options: ServerOptions, option: str) -> None:
    """What it serves is not known, so it is neither replaced nor joined."""
    other = running._replace(identity=None, other_version=True)
    with pytest.raises(ConfigurationError) as raised:
        check_succession(options, OWN, other)
    assert str(raised.value) == (
        f"{option}: process 6256, which serves 127.0.0.1:8000, is another version of kato-consul, "
        f"and what the two serve cannot be compared: end it first, or choose another port"
    )


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        (ServerOptions(), {}, "process 6256: --replace takes its place without a failed request"),
        (ServerOptions(), {"pid": 0}, "a process of another PID namespace: --share-port serves"),
        (ServerOptions(), {"identity": None}, "process 6256, which does not answer: end it"),
        (
            ServerOptions(),
            {"identity": None, "other_version": True},
            "process 6256, of another version of kato-consul: end it, or choose another port",
        ),
        (REPLACE, {"identity": None}, "process 6256, which does not answer: end it"),
        (REPLACE, {"user": 4711, "identity": None}, "process 6256, of another user (4711)"),
        (SHARE, {"user": 4711, "identity": None}, "process 6256, of another user (4711)"),
    ],
)
def test_address_in_use(
    running: RunningProxy, options: ServerOptions, change: dict[str, Any], message: str
) -> None:
    """With the process, and what to do."""
    said = in_use(options, running._replace(**change))
    assert said.startswith(f"it is served by kato-consul proxy, {message}")
