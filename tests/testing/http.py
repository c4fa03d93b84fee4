"""Requests to a stand-in KATO, for tests."""

import httpx

from kato_consul.testing.kato import StandInKato

# No connection is reused: the server may close an idle one at any moment.
NO_REUSE = httpx.Limits(max_keepalive_connections=0)


def create_session(
    http: httpx.Client, kato: StandInKato, node_id: str = "n", **config: object
) -> str:
    """Create a session, with KATO's defaults where `config` has no value; return its path."""
    response = http.post(f"{kato.url}/sessions", json={"node_id": node_id, "config": config})
    return f"/sessions/{response.json()['session_id']}"


def observe(http: httpx.Client, kato: StandInKato, session: str, *strings: str) -> httpx.Response:
    """Send one observation and return the response."""
    return http.post(f"{kato.url}{session}/observe", json={"strings": strings})


def read_stm(http: httpx.Client, kato: StandInKato, session: str) -> list[list[str]]:
    """Return the events in memory."""
    events: list[list[str]] = http.get(f"{kato.url}{session}/stm").json()["stm"]
    return events


def is_busy(http: httpx.Client, kato: StandInKato) -> bool:
    """Return whether the instance is processing other requests than this one."""
    requests = http.get(f"{kato.url}/concurrency").json()["current"]["concurrent_requests"]
    return bool(requests > 1)
