"""Keys of sessions on a real fleet, sync and async: options, refusals, progress, and repr."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kato_consul import AsyncKatoClient, ConfigurationError, KatoClient, SessionGone
from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet

Scenario = Callable[["Shell"], None]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """One registered instance."""
    with Fleet(1) as fleet, Registrar(fleet.definitions, fleet.settings):
        yield fleet


class Shell:
    """A client of either shell, used in the same way."""

    def __init__(self, client: Any, run: Callable[[Any], Any]) -> None:
        self.client = client
        self.run = run


@pytest.fixture(params=["sync", "async"])
def shell(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A client."""
    if request.param == "sync":
        with KatoClient(fleet.settings) as kato:
            yield Shell(kato, lambda result: result)
        return
    with asyncio.Runner() as runner:

        async def awaited(call: Any) -> Any:
            return await call

        async def make() -> AsyncKatoClient:
            return AsyncKatoClient(fleet.settings)

        client = runner.run(make())
        yield Shell(client, lambda call: runner.run(awaited(call)))
        runner.run(client.aclose())


def test_key_is_used_with_the_options_of_its_first_use(shell: Shell) -> None:
    """The same object with the same options; other options are refused, with both values."""
    kato = shell.client
    first = kato.session("ann", node_id="shop")
    assert kato.session("ann") is first
    assert kato.session("ann", node_id="shop") is first
    with pytest.raises(ConfigurationError, match=r"node_id='shop'.*node_id='other'"):
        kato.session("ann", node_id="other")
    assert shell.run(first.observe(["a"]))["time"] == 1


def test_key_with_a_refused_configuration_can_be_used_again(shell: Shell) -> None:
    """KATO ignores an invalid value. The session that was refused stays so, the key does not."""
    kato = shell.client
    refused = kato.session("bob", config={"stm_mode": "rolling"})
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="stm_mode"):
            shell.run(refused.observe(["a"]))
    session = kato.session("bob", config={"stm_mode": "ROLLING"})
    assert shell.run(session.observe(["a"]))["time"] == 1
    with pytest.raises(ConfigurationError, match="stm_mode"):
        shell.run(refused.observe(["a"]))
    assert kato.session("bob") is session


def test_key_with_an_unknown_id_to_attach_to_can_be_used_again(shell: Shell) -> None:
    """A wrong id is told; then the right one, or none, is accepted."""
    kato = shell.client
    with pytest.raises(SessionGone, match="observe: "):
        shell.run(kato.session("cleo", attach="session-of-nothing").observe(["a"]))
    assert shell.run(kato.session("cleo").observe(["a"]))["time"] == 1


def test_invalid_call_on_a_new_session_does_not_free_its_key(shell: Shell) -> None:
    """The session may still be opened: there must not be a second one of its key."""
    kato = shell.client
    session = kato.session("dan")
    with pytest.raises(ConfigurationError):
        shell.run(session.set_config(max_pattern_length=True))
    assert kato.session("dan") is session


async def async_progress(done: int, total: int) -> None:
    """Stand for a callback that a caller wrote for an async client."""


def test_async_progress_is_refused(shell: Shell) -> None:
    """It would never be awaited. Nothing is sent if it can be seen before."""
    session = shell.client.session("eve")
    progress: Any = async_progress
    with pytest.raises(ConfigurationError, match="async") as caught:
        shell.run(session.observe_sequence([["a"], ["b"]], progress=progress))
    assert (caught.value.applied, caught.value.sent) == (0, False)
    with pytest.raises(ConfigurationError, match="async") as caught:
        shell.run(
            session.observe_sequence([["a"], ["b"]], chunk=1, progress=lambda *_: progress(1, 2))
        )
    assert caught.value.applied == 1
    assert shell.run(session.stm()) == [["a"]]


def test_learn_of_a_single_symbol_names_no_pattern(shell: Shell) -> None:
    """KATO empties the memory, and learns nothing."""
    session = shell.client.session("fay")
    shell.run(session.observe(["a"]))
    assert shell.run(session.learn())["pattern_name"] == ""
    assert shell.run(session.stm()) == []


def test_repr_has_key_node_and_id(shell: Shell) -> None:
    """And of a client its service, its agent and the number of its sessions."""
    kato = shell.client
    session = kato.session("gil", node_id="shop")
    assert repr(session) == f"<{type(session).__name__} 'gil' node='shop' id=None>"
    shell.run(session.observe(["a"]))
    assert repr(session) == f"<{type(session).__name__} 'gil' node='shop' id={session.id!r}>"
    agent = kato.discovery.settings.consul_addr
    assert repr(kato) == f"<{type(kato).__name__} service='kato' consul={agent!r} sessions=1>"
