"""Ctrl-C at any moment: before and after each request that registering makes. On a real agent
nothing is left half-registered, and what was there before stays.
"""

import itertools
import threading
from collections.abc import Iterator

import pytest

from kato_consul import CheckDefinition, Registrar, ServiceDefinition, Settings
from kato_consul._flow import Outcome, Send
from kato_consul._sync.driver import Driver
from kato_consul.testing import ConsulAgent
from tests.cli.running import Instance, fresh_name, ids


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


class Finger:
    """Presses Ctrl-C once, at the main thread's request of a number: before it, or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._number, self._before, self._count = 0, False, 0
        really = Driver._send
        finger = self

        def send(driver: Driver, step: Send) -> Outcome:
            if threading.current_thread() is not threading.main_thread():
                return really(driver, step)
            finger._count += 1
            if finger._count == finger._number and finger._before:
                raise KeyboardInterrupt
            outcome = really(driver, step)
            if finger._count == finger._number:
                raise KeyboardInterrupt
            return outcome

        monkeypatch.setattr(Driver, "_send", send)

    def at(self, number: int, *, before: bool) -> None:
        """Press it there; requests are counted anew."""
        self._number, self._before, self._count = number, before, 0


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("staying", [False, True], ids=["register", "stay"])
def test_at_any_moment(
    agent: ConsulAgent, monkeypatch: pytest.MonkeyPatch, *, staying: bool, before: bool
) -> None:
    """Whichever request it comes at, of `register` and of a registrar that stays."""
    service = fresh_name()
    finger = Finger(monkeypatch)
    settings = Settings(consul_addr=agent.http_addr)
    with Instance() as instance:
        check = CheckDefinition(interval="200ms")
        old, *new = [
            ServiceDefinition(
                name=service,
                id=f"{service}-{n}",
                address="127.0.0.1",
                port=instance.port,
                check=check,
            )
            for n in (1, 2, 3)
        ]
        first = Registrar([old], settings, wait=20)
        first.register()
        first.close()
        for number in itertools.count(1):
            registrar = Registrar([old, *new], settings, wait=20)
            finger.at(number, before=before)
            try:
                (registrar.start if staying else registrar.register)()
            except KeyboardInterrupt:
                assert ids(agent, service) == {old.id}
            else:
                finger.at(0, before=before)
                registrar.deregister()
                break
            finally:
                registrar.close()
        assert number > 4  # it was pressed, and often
    assert ids(agent, service) == set()
