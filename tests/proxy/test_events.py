"""``/ws/events`` of the proxy: the events of all instances."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from kato_consul.proxy import events
from kato_consul.proxy.events import Subscription
from kato_consul.testing import Fleet
from kato_consul.testing.fleet import STORE
from kato_consul.testing.kato.instance import flush_sessions
from tests.proxy.served import ServedProxy, call

WITHIN = 10.0


@contextmanager
def subscribe(proxy: ServedProxy) -> Iterator[ClientConnection]:
    """Connect, and receive the snapshot."""
    with connect(f"ws://127.0.0.1:{proxy.port}/ws/events") as connection:
        assert next_event(connection)["event_type"] == "state.snapshot"
        yield connection


def ids_of(found: list[dict[str, Any]], kind: str) -> list[str]:
    """Return the sessions that events of a kind are about."""
    return [one["data"]["session_id"] for one in found if one["event_type"] == kind]


def next_event(connection: ClientConnection) -> dict[str, Any]:
    """Return the next event."""
    event: dict[str, Any] = json.loads(connection.recv(WITHIN))
    return event


def test_events_of_all_instances(proxy: ServedProxy, fleet: Fleet) -> None:
    """Sessions that are created and deleted anywhere, to all subscribers."""
    with subscribe(proxy) as one, subscribe(proxy) as two:
        ids = []
        for instance in fleet.instances.values():
            opened = call(instance.port, "POST", "/sessions", {"node_id": "n"})
            ids.append(opened.json["session_id"])
        through = proxy.open()
        assert proxy.call("DELETE", through).status == 200
        ids.append(through.removeprefix("/sessions/"))
        for connection in (one, two):
            found = [next_event(connection) for _ in range(4)]
            assert sorted(ids_of(found, "session.created")) == sorted(ids)
            assert ids_of(found, "session.destroyed") == ids[2:]


def test_ping(proxy: ServedProxy) -> None:
    """``ping`` is answered, other messages are ignored."""
    with subscribe(proxy) as connection:
        connection.send("hello")
        connection.send("ping")
        assert connection.recv(WITHIN) == "pong"


def test_instance_comes_back(proxy: ServedProxy, fleet: Fleet) -> None:
    """The proxy listens again to an instance that was started anew."""
    instance = fleet.instances["kato-2"]
    with subscribe(proxy) as connection:
        instance.kill()
        instance.start()
        deadline = time.monotonic() + 20
        while True:
            opened = call(instance.port, "POST", "/sessions", {"node_id": "n"})
            try:
                event = json.loads(connection.recv(0.5))
            except TimeoutError:
                assert time.monotonic() < deadline
                continue
            if event["data"]["session_id"] == opened.json["session_id"]:
                break


def test_session_that_goes_on(proxy: ServedProxy, fleet: Fleet) -> None:
    """That a session continues under another id is no end of it: its id is not destroyed."""
    session = proxy.open()
    proxy.observe(session, "a")
    flush_sessions(fleet.folder / STORE)
    with subscribe(proxy) as connection:
        assert proxy.observe(session, "b").status == 200
        proxy.call("DELETE", proxy.open())
        kinds: list[str] = []
        while not kinds or kinds[-1] != "session.destroyed":
            event = next_event(connection)
            kinds.append(event["event_type"])
            assert f"/sessions/{event['data']['session_id']}" != session
        assert kinds == ["session.created", "session.created", "session.destroyed"]


def test_subscriber_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is disconnected before its messages fill the memory."""
    monkeypatch.setattr(events, "MAX_WAITING", 2)

    async def put() -> None:
        subscription = Subscription()
        for number in range(4):
            subscription.put(str(number))
            assert subscription.too_slow.is_set() is (number >= 2)
        assert [await subscription.get(), await subscription.get()] == ["0", "1"]

    asyncio.run(put())
