"""Gateways and proxies in front of instances: which one answers, and whether it repeats POSTs.

A POST that a gateway repeats after it was sent may be applied twice. A gateway repeats one when its
own request fails, and a caller cannot let that fail, with one exception: Envoy accepts a time limit
for each of its tries from callers that it takes as internal. So one is asked to give up after a
millisecond, with an empty observation in a session of its own: if KATO's counter is above 1
afterwards, it was sent again. If not, nothing is known: the answer came in time, or Envoy did not
accept the limit, or it repeats something else.

An Envoy that accepts the limit counts each try as a failure of the instance. If its outlier
detection ejects after so few, a healthy instance is ejected for a while (docs/gateways.md).
"""

import msgspec

from kato_consul._flow import JSON_HEADERS, Flow, Outcome, Reply, Send, Sleep
from kato_consul._registration.health_probe import PROBE_NODE_ID
from kato_consul._registration.instance_info import field_of
from kato_consul.errors import excerpt

KATO_SERVER = "uvicorn"
"""What KATO's own ``Server`` header begins with. HAProxy passes it on, and is not seen."""

PROXY_SERVER = "kato-consul-proxy"
"""The ``Server`` header of `kato-consul proxy`."""

PROXY_HEADER = "x-kato-instance"
"""A header of its answers to requests without a session: nginx and Envoy pass it on, and put a
``Server`` header of their own in the place of the proxy's."""

SESSION_TTL = 60
"""Seconds after which KATO drops the session, should its deletion fail."""

GIVE_UP_HEADERS = {**JSON_HEADERS, "x-envoy-upstream-rq-per-try-timeout-ms": "1"}
"""Without Envoy's headers that ask for retries: those of its own configuration are looked for."""

SETTLED_AFTER = 0.5
"""Seconds after which the tries that Envoy gave up have been applied."""


def gateway_of(reply: Reply) -> str:
    """Return what a response says of a gateway that it came through; empty if nothing."""
    headers = reply.headers
    server = headers.get("server", "")
    if "x-envoy-upstream-service-time" in headers:
        return "envoy"
    if server and not server.lower().startswith((KATO_SERVER, PROXY_SERVER)):
        return excerpt(server)
    return excerpt(headers.get("via", ""))


def is_proxy(*outcomes: Outcome) -> bool:
    """Return whether one of the responses comes from a `kato-consul proxy`."""
    return any(
        PROXY_HEADER in one.headers or one.headers.get("server") == PROXY_SERVER
        for one in outcomes
        if isinstance(one, Reply)
    )


def is_envoy(gateway: str) -> bool:
    """Return whether a gateway is an Envoy, such as Istio's."""
    return "envoy" in gateway.lower()


def repeats_posts(origin: str, timeout: float) -> Flow[bool | None]:
    """Flow: return True if an Envoy has repeated a POST that was sent; None if that was not seen.

    ``timeout`` in seconds is for each request.
    """
    # Without predictions: KATO hangs if two sessions of a node observe with them at a time.
    body = {
        "node_id": PROBE_NODE_ID,
        "ttl_seconds": SESSION_TTL,
        "config": {"process_predictions": False},
    }
    created = yield from _post(origin, "/sessions", timeout, body)
    session = field_of(created, "session_id") if isinstance(created, Reply) else None
    if not isinstance(session, str):
        return None
    path = f"/sessions/{session}"
    yield from _post(origin, f"{path}/observe", timeout, {"strings": []}, GIVE_UP_HEADERS)
    yield Sleep(SETTLED_AFTER)
    read: Outcome = yield Send(origin, "GET", f"{path}/cognition-data", timeout)
    yield Send(origin, "DELETE", path, timeout)
    data = field_of(read, "cognition_data") if isinstance(read, Reply) else None
    count = data.get("time") if isinstance(data, dict) else None
    return True if isinstance(count, int) and count > 1 else None


def _post(
    origin: str, target: str, timeout: float, body: object, headers: dict[str, str] | None = None
) -> Flow[Outcome]:
    outcome: Outcome = yield Send(
        origin, "POST", target, timeout, headers or JSON_HEADERS, msgspec.json.encode(body)
    )
    return outcome
