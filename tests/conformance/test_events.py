"""Event stream of an instance (WebSocket): the snapshot, sessions' events, and the heartbeat."""

import json
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from tests.conformance.conftest import Pool, SessionClient, create_session

ANSWER = 10.0  # seconds to wait for a message that is due


def subscribe(url: str) -> ClientConnection:
    """Return a new client of an instance's event stream."""
    return connect(f"ws{url.removeprefix('http')}/ws/events", proxy=None)


def received(client: ClientConnection) -> dict[str, Any]:
    """Return the next event."""
    event: dict[str, Any] = json.loads(client.recv(ANSWER))
    return event


def pending(client: ClientConnection, session: SessionClient) -> list[dict[str, Any]]:
    """Return the events of a session that the client was sent before the answer to a heartbeat."""
    client.send("ping")
    events = []
    while (message := str(client.recv(ANSWER))) != "pong":
        events.append(json.loads(message))
    return [event for event in events if event["data"]["session_id"] == session.id]


@pytest.fixture
def client(pool: Pool) -> Iterator[ClientConnection]:
    """A client of the first instance that has received the snapshot."""
    with subscribe(pool.urls[0]) as client:
        client.recv(ANSWER)
        yield client


def test_a_client_first_gets_a_snapshot(pool: Pool) -> None:
    """The first event has the number of sessions; its time has no zone."""
    with subscribe(pool.urls[0]) as client:
        event = received(client)
    assert list(event) == ["event_type", "timestamp", "data"]
    assert event["event_type"] == "state.snapshot"
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is None
    assert list(event["data"]) == ["active_sessions", "system_status"]
    assert isinstance(event["data"]["active_sessions"], int)
    assert event["data"]["system_status"] == "healthy"


def test_a_session_has_two_events(
    pool: Pool, http: httpx.Client, client: ClientConnection, node_id: str
) -> None:
    """Its creation and its deletion have events, sent before the response; nothing else has."""
    session = create_session(pool, http, node_id)
    (created,) = pending(client, session)
    assert list(created) == ["event_type", "timestamp", "data"]
    assert created["event_type"] == "session.created"
    assert list(created["data"]) == ["session_id", "node_id", "created_at"]
    assert (created["data"]["session_id"], created["data"]["node_id"]) == (session.id, node_id)
    in_session = session.get().json()["created_at"]
    for one in (created["timestamp"], created["data"]["created_at"]):
        assert datetime.fromisoformat(one).utcoffset() is not None
    in_event = created["data"]["created_at"].replace("+00:00", "Z")
    assert in_event == in_session

    session.observe("a", "b")
    session.learn()
    session.post("/clear-stm")
    session.post("/extend?ttl_seconds=100")
    assert pending(client, session) == []

    url = f"{pool.urls[0]}/sessions/{session.id}"
    assert http.delete(url).status_code == 200
    (destroyed,) = pending(client, session)
    assert destroyed["event_type"] == "session.destroyed"
    assert list(destroyed["data"]) == ["session_id", "destroyed_at", "reason"]
    assert destroyed["data"]["session_id"] == session.id
    assert destroyed["data"]["reason"] == "explicit_delete"
    assert datetime.fromisoformat(destroyed["data"]["destroyed_at"]).utcoffset() is not None

    assert http.delete(url).status_code == 404
    assert pending(client, session) == []


def test_events_are_those_of_the_instance(
    pool: Pool, http: httpx.Client, client: ClientConnection, node_id: str
) -> None:
    """All clients of an instance get its events; those of another instance get none."""
    with subscribe(pool.urls[0]) as same, subscribe(pool.urls[1]) as other:
        received(same)
        received(other)
        session = create_session(pool, http, node_id)
        assert [len(pending(one, session)) for one in (client, same, other)] == [1, 1, 0]
        assert http.delete(f"{pool.urls[1]}/sessions/{session.id}").status_code == 200
        assert [len(pending(one, session)) for one in (client, same, other)] == [0, 0, 1]


def test_a_client_that_left_does_not_matter(
    pool: Pool, http: httpx.Client, client: ClientConnection, node_id: str
) -> None:
    """Without a closing handshake too."""
    with subscribe(pool.urls[0]) as polite:
        received(polite)
    with subscribe(pool.urls[0]) as rude:
        received(rude)
        rude.socket.shutdown(socket.SHUT_RDWR)
        session = create_session(pool, http, node_id)
        assert len(pending(client, session)) == 1


def test_only_ping_is_answered(client: ClientConnection, session: SessionClient) -> None:
    """Other texts are ignored; a binary message ends the stream."""
    for text in ("Ping", "ping ", '{"type": "ping"}', ""):
        client.send(text)
    assert len(pending(client, session)) == 1  # the session's creation; no answer came before
    client.send(b"ping")
    with pytest.raises(ConnectionClosedOK):
        while True:  # other sessions of the instance may have events
            client.recv(ANSWER)


def test_the_stream_is_no_resource(pool: Pool, http: httpx.Client) -> None:
    """A plain GET of its path is a 404, with the body of any unknown path."""
    response = http.get(f"{pool.urls[0]}/ws/events")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
