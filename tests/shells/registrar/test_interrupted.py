"""Registration interrupted by Ctrl-C, before and after each of its requests, on a real agent.

No instance of the interrupted run stays registered, and the instance that was registered before
stays.
"""

import itertools
import threading
from collections.abc import Iterator

import pytest

from kato_consul import CheckDefinition, Registrar, ServiceDefinition, Settings
from kato_consul._flow import Outcome, Send
from kato_consul._sync.driver import Driver
from kato_consul.testing import ConsulAgent
from tests.cli.running import HealthServer, fresh_name, ids


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


class Interrupter:
    """Raises KeyboardInterrupt in the main thread, before or after its n-th request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._number, self._before, self._count = 0, False, 0
        original = Driver._send
        interrupter = self

        def send(driver: Driver, step: Send) -> Outcome:
            if threading.current_thread() is not threading.main_thread():
                return original(driver, step)
            interrupter._count += 1
            if interrupter._count == interrupter._number and interrupter._before:
                raise KeyboardInterrupt
            outcome = original(driver, step)
            if interrupter._count == interrupter._number:
                raise KeyboardInterrupt
            return outcome

        monkeypatch.setattr(Driver, "_send", send)

    def set(self, number: int, *, before: bool) -> None:
        """Interrupt at this request, counted from now on; 0 for none."""
        self._number, self._before, self._count = number, before, 0


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("stays", [False, True], ids=["register", "start"])
def test_interrupt_at_any_request_leaves_only_earlier_instances(
    agent: ConsulAgent, monkeypatch: pytest.MonkeyPatch, *, stays: bool, before: bool
) -> None:
    """An interrupted `register` or `start` rolls back what it has registered, at any request."""
    service = fresh_name()
    interrupter = Interrupter(monkeypatch)
    settings = Settings(consul_addr=agent.http_addr)
    with HealthServer() as instance:
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
            interrupter.set(number, before=before)
            try:
                (registrar.start if stays else registrar.register)()
            except KeyboardInterrupt:
                assert ids(agent, service) == {old.id}
            else:
                interrupter.set(0, before=before)
                registrar.deregister()
                break
            finally:
                registrar.close()
        assert number > 4  # several requests were interrupted
    assert ids(agent, service) == set()
