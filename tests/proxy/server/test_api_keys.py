"""API keys: the file of their hashes, and what a request needs."""

import logging
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from kato_consul import ConfigurationError
from kato_consul.proxy import ApiKey
from kato_consul.proxy.server import api_keys
from kato_consul.proxy.server.api_keys import KeyFile
from tests.proxy.server.serving import Server, serving, started
from tests.testing.waiting import eventually

SHOP, BILLING = ApiKey.create("shop"), ApiKey.create("billing")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the key of the shop."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"# callers\n\n  {SHOP.line}  \n")
    return path


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Server]:
    """A server that requires a key, and logs to a file beside that of the keys."""
    with serving(api_keys=file) as running:
        yield running


def test_new_key() -> None:
    """A key is 256 random bits; its line has its hash, and its repr nothing of it."""
    assert len(SHOP.key.reveal()) == 43
    assert SHOP.key != BILLING.key
    assert SHOP.line == f"shop {sha256(SHOP.key.reveal().encode()).hexdigest()}"
    assert SHOP.key.reveal() not in repr(SHOP)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "a\n"])
def test_name_that_cannot_be_used(name: str) -> None:
    """A name is a word in the file."""
    with pytest.raises(ConfigurationError, match="cannot name an API key"):
        ApiKey.create(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("# only a comment\n", "has no key"),
        ("shop\n", "line 1: write NAME SHA256"),
        (f"{SHOP.line}\nshop {SHOP.key.reveal()}\n", "line 2: write NAME SHA256"),
        (f"{SHOP.line}\n{SHOP.line.replace('shop', 'other')}", "line 2: other and shop are the"),
        ("\udcff", "it is not UTF-8"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    """The error has the line, and no key that was written there by mistake."""
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigurationError) as raised:
        KeyFile(path)
    assert message in str(raised.value)
    assert SHOP.key.reveal() not in str(raised.value)


def test_missing_file(tmp_path: Path) -> None:
    """The server does not start."""
    with started(api_keys=tmp_path / "none") as server:
        assert "cannot be read: No such file or directory" in server.ended()
        assert server.process.returncode == 2


def test_several_keys_of_a_name(tmp_path: Path) -> None:
    """So a key can be replaced while the old one is in use."""
    path, new = tmp_path / "keys", ApiKey.create("shop")
    path.write_text(f"{SHOP.line}\n{new.line}\n")
    keys = KeyFile(path)
    for one in (SHOP, new):
        assert keys.name_of(one.key.reveal().encode()) == "shop"
    assert keys.name_of(BILLING.key.reveal().encode()) is None


def test_changed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read again. A file that cannot be used leaves the keys as they were, and is logged."""
    monkeypatch.setattr(api_keys, "CHECK_INTERVAL", 0)
    path = tmp_path / "keys"
    path.write_text(SHOP.line)
    keys = KeyFile(path)
    shop, billing = SHOP.key.reveal().encode(), BILLING.key.reveal().encode()
    for bad in ("no key", ""):
        path.write_text(bad)
        assert keys.name_of(shop) == keys.name_of(shop) == "shop"
    path.unlink()
    assert keys.name_of(shop) == "shop"
    rejected = [one for one in caplog.records if one.message.startswith("proxy.keys_rejected")]
    assert len(rejected) == 3
    assert {one.levelno for one in rejected} == {logging.WARNING}
    replacement = tmp_path / "new"
    replacement.write_text(BILLING.line)
    replacement.replace(path)
    assert (keys.name_of(shop), keys.name_of(billing)) == (None, "billing")


def test_file_of_the_same_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change within the resolution of the file's time is noticed, too."""
    monkeypatch.setattr(api_keys, "CHECK_INTERVAL", 0)
    path = tmp_path / "keys"
    path.write_text(SHOP.line)
    keys, status = KeyFile(path), path.stat()
    path.write_text(ApiKey.create("shop").line)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert keys.name_of(SHOP.key.reveal().encode()) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {SHOP.key.reveal()}"},
        {"x_api_key": "wrong"},
        {"x_api_key": ""},
    ],
)
def test_without_a_key(server: Server, headers: dict[str, str]) -> None:
    """A 401, and what is needed."""
    answer = server.get("/echo", **headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="kato"'
    assert set(answer.json) == {"detail"}


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer  "])
def test_with_a_key(server: Server, prefix: str) -> None:
    """In either header."""
    for headers in (
        {"authorization": f"{prefix}{SHOP.key.reveal()}"},
        {"x_api_key": SHOP.key.reveal()},
    ):
        answer = server.get("/echo", **headers)
        assert (answer.status, answer.json["caller"]) == (200, "shop")


def test_without_keys_are_probes_and_preflights(server: Server) -> None:
    """Neither has a key."""
    assert server.get("/health").status == 200
    assert server.get("/ready").status == 200
    assert server.get("/ready/").status == 401
    preflight = {"origin": "http://a", "access_control_request_method": "POST"}
    assert server.request("OPTIONS", "/echo", None, **preflight).status == 200
    assert server.request("POST", "/echo", None, **preflight).status == 401


def test_refused_request_with_a_long_body(server: Server) -> None:
    """Its caller sees the 401 when it has sent the body."""
    assert server.request("POST", "/echo", b"a" * 1_000_000).status == 401


def test_websocket(server: Server) -> None:
    """Its handshake is answered with a 401."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    url = f"ws://127.0.0.1:{server.port}/events"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 401
    with connect(url, additional_headers={"X-API-Key": SHOP.key.reveal()}) as ws:
        assert ws.recv() == "/events"


def test_key_that_is_added(server: Server, file: Path) -> None:
    """A running server accepts it."""
    assert server.get("/echo", x_api_key=BILLING.key.reveal()).status == 401
    with file.open("a") as opened:
        opened.write(f"{BILLING.line}\n")
    assert eventually(lambda: server.get("/echo", x_api_key=BILLING.key.reveal()).status == 200)
