"""Lifetime of a session: `ttl_seconds` from its last write; reading does not really renew it."""

import time
from typing import Any, NamedTuple

import httpx
import pytest

from tests.conformance.conftest import Pool, SessionClient, create_session, fresh_node

TTL = 5  # seconds
PART = 3.0  # seconds: more than half of the TTL, with a margin for a slow machine

ALIVE = {"exists": True, "expired": False}
MISSING = {"exists": False, "expired": False}
EXPIRED = {"exists": False, "expired": True}


class AgedSession(NamedTuple):
    """A session, and the response of `exists` when it was 6 s old."""

    session: SessionClient
    exists: dict[str, Any]


@pytest.fixture(scope="module")
def aged_sessions(pool: Pool, http: httpx.Client) -> dict[str, AgedSession]:
    """Sessions with a TTL of 5 s, each used differently at an age of 3 s."""
    ways = ("unused", "observed", "read", "exists", "extended", "extended and read")
    sessions = {way: create_session(pool, http, fresh_node(), ttl_seconds=TTL) for way in ways}
    for way in ("extended", "extended and read"):
        response = sessions[way].post("/extend?ttl_seconds=60")
        expected = {"status": "extended", "session_id": sessions[way].id, "ttl_seconds": 60}
        assert response.json() == expected
    assert sessions["extended and read"].get().status_code == 200
    time.sleep(PART)
    sessions["observed"].observe("a")
    assert sessions["read"].get("/stm").status_code == 200
    assert exists(sessions["exists"]) == ALIVE
    time.sleep(PART)
    return {way: AgedSession(session, exists(session)) for way, session in sessions.items()}


def exists(session: SessionClient) -> dict[str, Any]:
    """Return the response of `exists` without the id."""
    body: dict[str, Any] = session.get("/exists").json()
    assert body.pop("session_id") == session.id
    return body


def test_an_unused_session_expires(aged_sessions: dict[str, AgedSession]) -> None:
    """After its TTL a session is missing; the 404 is the middleware's."""
    session, exists_body = aged_sessions["unused"]
    assert exists_body == MISSING
    response = session.post("/observe", {"strings": ["a"]})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "SESSION_NOT_FOUND"


def test_writing_renews(aged_sessions: dict[str, AgedSession]) -> None:
    """An observation restarts the TTL."""
    assert aged_sessions["observed"].exists == ALIVE


def test_reading_renews_only_the_key(aged_sessions: dict[str, AgedSession]) -> None:
    """A read renews the key, not the document: the session is found expired, then deleted."""
    session, exists_body = aged_sessions["read"]
    assert exists_body == EXPIRED
    assert exists(session) == MISSING
    assert session.get().status_code == 404


def test_exists_does_not_renew(aged_sessions: dict[str, AgedSession]) -> None:
    """`exists` does not change the expiry."""
    assert aged_sessions["exists"].exists == MISSING


def test_extending_lasts_until_the_next_use(aged_sessions: dict[str, AgedSession]) -> None:
    """`extend` changes the expiry once; the next use restarts the session's own TTL."""
    assert aged_sessions["extended"].exists == ALIVE
    assert aged_sessions["extended and read"].exists == MISSING


@pytest.mark.parametrize("ttl", [0, -1])
def test_extending_by_nothing_ends_a_session(session: SessionClient, ttl: int) -> None:
    """`extend` with a TTL of 0 or less is answered 200, and deletes the session."""
    response = session.post(f"/extend?ttl_seconds={ttl}")
    assert (response.status_code, response.json()["ttl_seconds"]) == (200, ttl)
    assert exists(session) == MISSING
