"""How long a session lives: `ttl_seconds` from its last writing; reading only seems to help."""

import time
from typing import Any, NamedTuple

import httpx
import pytest

from tests.conformance.conftest import Pool, Talk, fresh_node, opened

TTL = 2  # seconds
PART = 1.2  # seconds: more than half of a life, with room for a slow machine on both sides

ALIVE = {"exists": True, "expired": False}
GONE = {"exists": False, "expired": False}
EXPIRED = {"exists": False, "expired": True}


class Life(NamedTuple):
    """A session, and what `exists` said when it was 2.4 s old."""

    talk: Talk
    look: dict[str, Any]


@pytest.fixture(scope="module")
def lives(pool: Pool, http: httpx.Client) -> dict[str, Life]:
    """Sessions with a TTL of 2 s, each treated differently when it was 1.2 s old."""
    ways = ("left alone", "observed", "read", "looked for", "extended", "extended and read")
    talks = {way: opened(pool, http, fresh_node(), ttl_seconds=TTL) for way in ways}
    for way in ("extended", "extended and read"):
        answer = talks[way].post("/extend?ttl_seconds=60")
        said = {"status": "extended", "session_id": talks[way].id, "ttl_seconds": 60}
        assert answer.json() == said
    assert talks["extended and read"].get().status_code == 200
    time.sleep(PART)
    talks["observed"].observe("a")
    assert talks["read"].get("/stm").status_code == 200
    assert look(talks["looked for"]) == ALIVE
    time.sleep(PART)
    return {way: Life(talk, look(talk)) for way, talk in talks.items()}


def look(talk: Talk) -> dict[str, Any]:
    """What `exists` says of a session."""
    answer: dict[str, Any] = talk.get("/exists").json()
    assert answer.pop("session_id") == talk.id
    return answer


def test_a_session_ends(lives: dict[str, Life]) -> None:
    """After its TTL a session is gone, in the words of the middleware."""
    talk, looked = lives["left alone"]
    assert looked == GONE
    answer = talk.post("/observe", {"strings": ["a"]})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "SESSION_NOT_FOUND"


def test_writing_prolongs(lives: dict[str, Life]) -> None:
    """An observation starts the TTL anew."""
    assert lives["observed"].look == ALIVE


def test_reading_only_seems_to_prolong(lives: dict[str, Life]) -> None:
    """A read moves the key's end and not the document's: found, expired, and then deleted."""
    talk, looked = lives["read"]
    assert looked == EXPIRED
    assert look(talk) == GONE
    assert talk.get().status_code == 404


def test_looking_does_not_prolong(lives: dict[str, Life]) -> None:
    """`exists` leaves the end where it is."""
    assert lives["looked for"].look == GONE


def test_extending_lasts_until_the_next_use(lives: dict[str, Life]) -> None:
    """`extend` moves the end once; the next use counts the session's own TTL again."""
    assert lives["extended"].look == ALIVE
    assert lives["extended and read"].look == GONE
