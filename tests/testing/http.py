"""Short ways to ask a stand-in KATO."""

import httpx

from kato_consul.testing.kato import StandInKato

# No connection is used twice: an idle one may be closed by the server at any moment.
NO_REUSE = httpx.Limits(max_keepalive_connections=0)


def new_session(http: httpx.Client, kato: StandInKato, node_id: str = "n") -> str:
    """The path of a new session."""
    answer = http.post(f"{kato.url}/sessions", json={"node_id": node_id})
    return f"/sessions/{answer.json()['session_id']}"


def observe(http: httpx.Client, kato: StandInKato, session: str, *strings: str) -> httpx.Response:
    """The answer to one observation."""
    return http.post(f"{kato.url}{session}/observe", json={"strings": strings})


def stm(http: httpx.Client, kato: StandInKato, session: str) -> list[list[str]]:
    """The events in memory."""
    events: list[list[str]] = http.get(f"{kato.url}{session}/stm").json()["stm"]
    return events


def busy(http: httpx.Client, kato: StandInKato) -> bool:
    """Whether the instance works on another request than this one."""
    requests = http.get(f"{kato.url}/concurrency").json()["current"]["concurrent_requests"]
    return bool(requests > 1)
