"""Errors name the call that the caller made: every call on a session, sync and async."""

import asyncio
import inspect
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kato_consul import (
    AsyncKatoClient,
    AsyncSession,
    ConfigurationError,
    InvalidObservation,
    KatoClient,
    KatoConsulError,
    Session,
    Settings,
)
from kato_consul._kato import writes
from kato_consul._kato.journal import Journal
from kato_consul.testing.ports import free_ports

CALLS: dict[str, Callable[[Any], Any]] = {
    "observe": lambda session: session.observe(["a"]),
    "observe_sequence": lambda session: session.observe_sequence([["a"], ["b"]], learn_at_end=True),
    "learn": lambda session: session.learn(),
    "clear_stm": lambda session: session.clear_stm(),
    "clear_all": lambda session: session.clear_all(),
    "settle": lambda session: session.settle(),
    "predictions": lambda session: session.predictions(),
    "stm": lambda session: session.stm(),
    "percept_data": lambda session: session.percept_data(),
    "cognition_data": lambda session: session.cognition_data(),
    "info": lambda session: session.info(),
    "exists": lambda session: session.exists(),
    "config": lambda session: session.config(),
    "set_config": lambda session: session.set_config(max_pattern_length=5),
    "extend": lambda session: session.extend(60),
    "finalize_training": lambda session: session.finalize_training(),
    "delete": lambda session: session.delete(),
}
SENDS_NOTHING = {"position"}
"""Without a session directory, this is what the process knows."""

NEEDS_AN_OPEN_SESSION = {"settle", "exists", "delete"}


@pytest.fixture(params=["refuses", "is silent"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings for one instance, which refuses connections or accepts them and sends nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_ports(1)[0]))
        if request.param == "is silent":
            listening.listen(100)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Settings(kato_urls=(url,), deadline=0.4, attempt_timeout=0.2)


def prepared(client: Any, call: str, *, opened: bool) -> Any:
    """Return a session for a call."""
    session = client.session(f"key of {call}")
    if opened:
        session._state.journal = Journal(session_id=f"session-{call}")
        if call == "settle":
            session._state.pending = writes.observe({"strings": ["a"]})
    return session


def names(opened: bool) -> list[str]:
    """Return the calls that send a request on such a session."""
    return [name for name in CALLS if opened or name not in NEEDS_AN_OPEN_SESSION]


def require_name(call: str, error: BaseException | None) -> None:
    """Check that the error names the call, once, and first."""
    assert isinstance(error, KatoConsulError), call
    assert error.call == call
    assert str(error).startswith(call)
    assert not str(error).startswith(f"{call}: {call}")


@pytest.mark.parametrize("facade", [Session, AsyncSession])
def test_table_has_every_call(facade: type[Any]) -> None:
    """A method that is added needs a row."""
    methods = {
        name
        for name, _ in inspect.getmembers(facade, inspect.isfunction)
        if not name.startswith("_")
    }
    assert methods == set(CALLS) | SENDS_NOTHING


@pytest.mark.parametrize("opened", [True, False], ids=["open", "new"])
def test_errors_of_a_sync_session_name_the_call(settings: Settings, opened: bool) -> None:
    """Whatever request of the call failed, its error begins with the call."""

    def fail(call: str) -> BaseException | None:
        session = prepared(client, call, opened=opened)
        try:
            CALLS[call](session)
        except KatoConsulError as error:
            return error
        return None

    with KatoClient(settings) as client, ThreadPoolExecutor(len(CALLS)) as pool:
        for call, error in zip(names(opened), pool.map(fail, names(opened)), strict=True):
            require_name(call, error)


@pytest.mark.parametrize("opened", [True, False], ids=["open", "new"])
def test_errors_of_an_async_session_name_the_call(settings: Settings, opened: bool) -> None:
    """The same on asyncio."""

    async def fail_all() -> list[Any]:
        async with AsyncKatoClient(settings) as client:
            calls = [CALLS[call](prepared(client, call, opened=opened)) for call in names(opened)]
            return await asyncio.gather(*calls, return_exceptions=True)

    for call, error in zip(names(opened), asyncio.run(fail_all()), strict=True):
        require_name(call, error)


def test_invalid_arguments_name_the_call() -> None:
    """Also what is refused before a request is made."""
    bad: Any = [1]
    surrogate = ["\ud800"]
    with KatoClient(Settings(kato_urls=("http://127.0.0.1:9",))) as client:
        session = client.session("me")
        for call, refused in (
            ("observe", lambda: session.observe(bad)),
            ("observe", lambda: session.observe(surrogate)),
            ("observe_sequence", lambda: session.observe_sequence([bad])),
            ("observe_sequence", lambda: session.observe_sequence([surrogate])),
            ("observe_sequence", lambda: session.observe_sequence([["a"]], chunk=0)),
            ("extend", lambda: session.extend(bad)),
            ("extend", lambda: session.extend(0)),
            ("set_config", lambda: session.set_config(max_pattern_length=True)),
        ):
            with pytest.raises((InvalidObservation, ConfigurationError)) as caught:
                refused()
            require_name(call, caught.value)
