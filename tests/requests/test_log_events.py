"""Log events of requests: retries, ejection, recovery, waiting for instances, moves of sessions."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kato_consul._flow import WaitForChange
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import ConsulUnreachable
from kato_consul.models import Health
from tests.building import cut, hung, refused, reply, snapshot
from tests.requests.scripted_service import (
    FIRST,
    KEY,
    OK,
    READ,
    SECOND,
    WRITE,
    ScriptedService,
)

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Iterator[Events]:
    """The name and the fields of each event, as they are logged."""
    logged: Events = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append((record.event, record.fields))  # type: ignore[attr-defined]

    handler, package = Collector(), logging.getLogger("kato_consul")
    package.addHandler(handler)
    with caplog.at_level(logging.INFO, "kato_consul"):
        yield logged
    package.removeHandler(handler)


def test_answered_request_logs_nothing(events: Events) -> None:
    """Nothing is logged while nothing happens."""
    service = ScriptedService(OK, OK)
    service.call()
    service.call(READ)
    assert events == []


def test_retry_on_another_instance(events: Events) -> None:
    """The instance that refused is ejected, and the request goes to the next one."""
    ScriptedService(refused(), OK).call()
    why = "could not connect (refused)"
    ejected = {"service": "kato", "id": FIRST.uid, "seconds": 1.0, "why": why}
    retried = {
        "service": "kato",
        "request": "observe",
        "id": SECOND.uid,
        "attempt": 2,
        "why": f"{FIRST.uid}: {why}",
    }
    assert events == [("instance.ejected", ejected), ("request.retried", retried)]


def test_each_further_attempt_is_logged(events: Events) -> None:
    """With its number."""
    ScriptedService(refused(), hung(), reply(429), OK).call(READ)
    retried = [fields for name, fields in events if name == "request.retried"]
    assert [fields["attempt"] for fields in retried] == [2, 3, 4]


def test_ejection_after_several_failures_is_logged_once(events: Events) -> None:
    """Failures of an instance that are tolerated are no ejection."""
    service = ScriptedService(*[cut()] * 3, OK, instances=(FIRST,))
    service.call(READ)
    ejections = [fields["id"] for name, fields in events if name == "instance.ejected"]
    assert ejections == [FIRST.uid]


def test_recovery(events: Events) -> None:
    """The first answer of an instance that was ejected is its recovery; later ones are not."""
    service = ScriptedService(refused(), OK, OK, OK, instances=(FIRST,))
    for _ in range(3):
        service.call()
    recovered = [fields for name, fields in events if name == "instance.recovered"]
    assert recovered == [{"service": "kato", "id": FIRST.uid}]


def test_failure_without_an_ejection_is_no_recovery(events: Events) -> None:
    """An instance that failed once, and was not ejected, does not recover."""
    ScriptedService(cut(), OK, instances=(FIRST,)).call(READ)
    assert [name for name, _ in events] == ["request.retried"]


def test_waiting_for_instances_is_logged_once(events: Events) -> None:
    """With the time limit, and why there is none."""
    critical = replace(FIRST, health=Health.CRITICAL, output="redis: refused")
    service = ScriptedService(OK, instances=(critical,))
    changes = [snapshot(), snapshot(SECOND)]
    service.player.change = lambda step: service.store.publish(changes.pop(0))
    service.call(within=7.0)
    why = f"Consul lists none as passing ({FIRST.id} is critical: redis: refused)"
    assert events == [("instances.waiting", {"service": "kato", "seconds": 7.0, "why": why})]


def test_first_response_of_consul_is_waited_for_silently(events: Events) -> None:
    """Each client waits for it at its start. Only if Consul fails, it is logged."""
    service = ScriptedService(OK, instances=None)
    service.player.change = lambda step: service.store.publish(snapshot(FIRST))
    service.call()
    assert events == []

    failing = ScriptedService(instances=None).failover
    call = failing.call(WRITE, failing.clock() + 5.0)
    for _ in range(2):
        assert isinstance(next(call), WaitForChange)
        failing.store.record_error(ConsulUnreachable("http://consul.test:8500", "refused"))
    assert [name for name, _ in events] == ["instances.waiting"]


def test_moves_of_a_session(events: Events) -> None:
    """A session moves when its instance fails, and back to its primary when it answers again."""
    service = ScriptedService(OK, refused(), OK, OK)
    api = KatoApi(service.failover, 10.0)
    state = SessionState("me", "node")
    state.journal = state.journal.replayed_in(KEY)
    for _ in range(2):
        api.place_session(state)
        service.player.play(api.call_session(WRITE, state, service.clock() + 30.0))
    service.clock.advance(60.0)
    api.place_session(state)
    moves = [fields for name, fields in events if name == "session.moved"]
    common = {"key": "me", "id": KEY}
    assert moves == [
        {**common, "previous": FIRST.uid, "instance": SECOND.uid},
        {**common, "previous": SECOND.uid, "instance": FIRST.uid},
    ]
