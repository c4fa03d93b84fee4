"""The proxy answers as KATO does: each exchange is made with an instance and through a proxy."""

import json
import re
from typing import Any

import pytest

from kato_consul.testing import Fleet
from tests.proxy.served import Response, ServedProxy, call

SESSION_ID = re.compile(r"session-[0-9a-f]{32}-\d+")

VARIES = frozenset(
    {
        "created_at",
        "expires_at",
        "ttl_seconds",
        "unique_id",
        "time_ms",
        "message",
        "timestamp",
        "uptime_seconds",
    }
)
"""Fields that differ between two calls of the same instance, too."""

TURNED_OFF = frozenset({"process_predictions"})
"""The proxy opens sessions without predictions for each observation: see docs/proxy.md."""

JSON_ERROR = b'{"strings": ['

EXCHANGES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/observe", {"strings": ["b", "a"], "vectors": [], "emotives": {"joy": 1}}),
    ("POST", "/observe", {"strings": ["c"], "metadata": {"source": "web"}, "unknown": 1}),
    ("POST", "/observe", {"emotives": {"joy": "0.5"}}),
    ("POST", "/observe", {"emotives": {"joy": True, "fear": "0.5"}, "metadata": {"new": True}}),
    ("POST", "/observe", {"strings": [True], "vectors": [[True]]}),
    ("GET", "/percept-data", None),
    ("POST", "/observe", {}),
    ("POST", "/observe", {"strings": "c"}),
    ("POST", "/observe", {"strings": [1]}),
    ("POST", "/observe", {"strings": None}),
    ("POST", "/observe", {"emotives": {"joy": "much"}}),
    ("POST", "/observe", ["c"]),
    ("POST", "/observe", JSON_ERROR),
    ("POST", "/observe", b""),
    ("GET", "/stm", None),
    ("GET", "", None),
    ("GET", "/exists", None),
    ("GET", "/config", None),
    ("GET", "/predictions", None),
    ("GET", "/percept-data", None),
    ("GET", "/cognition-data", None),
    ("POST", "/learn", None),
    ("POST", "/learn", None),
    ("POST", "/observe", {"strings": ["a", "b"]}),
    ("GET", "/predictions", None),
    ("GET", "/cognition-data", None),
    ("POST", "/observe-sequence", {"observations": []}),
    ("POST", "/observe-sequence", {"observations": [{"strings": ["p"], "unique_id": "1"}, {}]}),
    ("POST", "/observe-sequence", {"observations": [{"strings": ["q"]}], "learn_at_end": True}),
    ("POST", "/observe-sequence", {"observations": [{"strings": ["r"]}], "learn_after_each": True}),
    ("POST", "/observe-sequence", {"observations": [{"strings": "r"}]}),
    ("POST", "/observe-sequence", {}),
    ("POST", "/config", {"config": {"max_pattern_length": 3, "stm_mode": "ROLLING"}}),
    ("POST", "/config", {"recall_threshold": 0.2}),
    ("POST", "/config", {"config": {"no_such_setting": 1}}),
    ("POST", "/config", {"config": {"max_predictions": -1}}),
    ("POST", "/config", b"[]"),
    ("GET", "/config", None),
    ("POST", "/extend?ttl_seconds=100", None),
    ("POST", "/extend", None),
    ("POST", "/extend?ttl_seconds=soon", None),
    ("POST", "/extend?ttl_seconds=", None),
    ("POST", "/finalize-training", None),
    ("POST", "/clear-stm", None),
    ("POST", "/clear-all", None),
    ("PUT", "/observe", {}),
    ("PATCH", "", {}),
    ("DELETE", "", None),
    ("DELETE", "", None),
    ("GET", "", None),
    ("GET", "/stm", None),
    ("GET", "/exists", None),
    ("POST", "/observe", {"strings": ["late"]}),
    ("POST", "/learn", None),
)

CREATIONS: tuple[Any, ...] = (
    {"node_id": "n"},
    {"node_id": "n", "metadata": {"a": [1]}, "ttl_seconds": 60, "config": {"persistence": 7}},
    {"node_id": "n", "metadata": None, "ttl_seconds": None, "config": None},
    {"node_id": "n", "ttl_seconds": "60"},
    {"node_id": "n", "config": {"persistence": 0, "max_predictions": 7}},
    {"node_id": 1},
    {"node": "n"},
    b"{",
)

ELSEWHERE = (
    ("GET", "/", None),
    ("GET", "/status", None),
    ("GET", "/sessions/count", None),
    ("GET", "/sessions/test/one", None),
    ("GET", "/metrics/no-such-metric?minutes=1", None),
    ("GET", "/stats?minutes=x", None),
    ("GET", "/symbols/stats?node_id=none", None),
    ("GET", "/symbols/affinity?node_id=none", None),
    ("GET", "/symbols/a%2Fb/affinity?node_id=none", None),
    ("GET", "/pattern/PTRN%7Cnone?node_id=none", None),
    ("GET", "/pattern/PTRN%7Cnone", None),
    ("GET", "/percept-data?node_id=none", None),
    ("POST", "/cache/invalidate", None),
    ("GET", "/no-such-path", None),
    ("POST", "/status", None),
    ("HEAD", "/status", None),
    ("GET", "/sessions/none", None),
    ("GET", "/sessions/none/stm", None),
    ("GET", "/sessions/no%20id/stm", None),
    ("GET", "/sessions/none/exists", None),
)


def comparable(response: Response, *, without: frozenset[str] = frozenset()) -> tuple[Any, ...]:
    """Return what must be equal of two responses to the same request."""

    def normal(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: normal(part)
                for name, part in value.items()
                if name not in VARIES | without or not isinstance(part, str | int | float)
            }
        if isinstance(value, list):
            return [normal(part) for part in value]
        return SESSION_ID.sub("ID", value) if isinstance(value, str) else value

    body = response.body if response.json is None else json.dumps(normal(response.json))
    headers = {
        name: SESSION_ID.sub("ID", response.headers.get(name, ""))
        for name in ("content-type", "x-session-id", "allow")
        if response.status != 405 or name != "x-session-id"
    }
    return response.status, body, headers, "x-trace-id" in response.headers


@pytest.fixture(scope="module")
def instance(running_fleet: Fleet) -> int:
    """The port of an instance."""
    return running_fleet.instances["kato-1"].port


def test_session_calls(proxy: ServedProxy, instance: int) -> None:
    """Every call on a session, in one session of each."""
    asked = {"node_id": "compared", "config": {"process_predictions": False}}
    direct = call(instance, "POST", "/sessions", asked).json["session_id"]
    asked["node_id"] = "also"
    through = call(proxy.port, "POST", "/sessions", asked).json["session_id"]
    for method, path, body in EXCHANGES:
        here = call(instance, method, f"/sessions/{direct}{path}", body)
        there = call(proxy.port, method, f"/sessions/{through}{path}", body)
        expected, found = comparable(here), comparable(there)
        assert str(found).replace("also", "compared") == str(expected), (method, path, body)


@pytest.mark.parametrize("body", CREATIONS, ids=str)
def test_creation(proxy: ServedProxy, instance: int, body: Any) -> None:
    """Sessions are created as KATO creates them, but for one default."""
    here, there = (call(port, "POST", "/sessions", body) for port in (instance, proxy.port))
    assert comparable(there, without=TURNED_OFF) == comparable(here, without=TURNED_OFF)
    if there.status == 200:
        session = f"/sessions/{there.json['session_id']}"
        assert there.json["session_config"]["process_predictions"] is False
        config = proxy.call("GET", f"{session}/config").json["config"]
        assert config["process_predictions"] is False
        assert proxy.observe(session, "a").json["time"] == 1


@pytest.mark.parametrize("ttl", [10**14, -(10**14), -5])
def test_creation_that_fails_in_each_instance(proxy: ServedProxy, instance: int, ttl: int) -> None:
    """KATO can neither add this to a date nor store it. Its 500 is no store that is down."""
    body = {"node_id": "n", "ttl_seconds": ttl}
    here, there = (call(port, "POST", "/sessions", body) for port in (instance, proxy.port))
    assert comparable(there)[:2] == comparable(here)[:2]
    assert there.status == 500


@pytest.mark.parametrize(("method", "path", "body"), ELSEWHERE)
def test_paths_without_session(
    proxy: ServedProxy, instance: int, method: str, path: str, body: Any
) -> None:
    """What belongs to no session is answered by an instance."""
    here, there = (call(port, method, path, body) for port in (instance, proxy.port))
    ignored = frozenset({"active_session_count", "total_sessions", "active_sessions"})
    assert comparable(there, without=ignored)[:1] == comparable(here, without=ignored)[:1]
    if path not in ("/status", "/sessions/count"):
        assert comparable(there)[1:3] == comparable(here)[1:3]


def test_every_path_is_served(proxy: ServedProxy, instance: int) -> None:
    """No path of KATO's OpenAPI is unknown to the proxy, and it serves that document itself."""
    document = call(instance, "GET", "/openapi.json").json
    assert proxy.call("GET", "/openapi.json").json == document
    for path, methods in document["paths"].items():
        for method in methods:
            response = proxy.call(method.upper(), re.sub(r"\{\w+\}", "none", path))
            assert response.json != {"detail": "Not Found"}, (method, path)
            assert response.status != 405, (method, path)


def test_media_type(proxy: ServedProxy, instance: int) -> None:
    """A body that is not declared as JSON is refused, as KATO refuses it."""
    direct = call(instance, "POST", "/sessions", {"node_id": "n"}).json["session_id"]
    through = proxy.open()
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/x+json"):
        header = {"content-type": kind}
        body = b'{"strings": ["a"]}'
        here = call(instance, "POST", f"/sessions/{direct}/observe", body, header)
        there = proxy.call("POST", f"{through}/observe", body, header)
        assert there.status == here.status
        if here.status == 422:
            assert there.json == here.json


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/extend?ttl_seconds=100000000000000", None, "query"),
        ("/observe", b'{"emotives": {"joy": NaN}}', "body"),
        ("/observe", b'{"unknown": "\\ud800"}', "body"),
    ],
)
def test_what_kato_takes_and_the_proxy_does_not(
    proxy: ServedProxy, path: str, body: bytes | None, part: str
) -> None:
    """A 422 in KATO's form. The session is as it was."""
    session = proxy.open()
    response = proxy.call("POST", f"{session}{path}", body)
    assert response.status == 422
    assert [(one["type"], one["loc"]) for one in response.json["detail"]] == [
        ("unsupported", [part])
    ]
    assert proxy.observe(session, "a").json["time"] == 1


def test_trace_id(proxy: ServedProxy) -> None:
    """A trace id is passed on and returned; one that no header can carry is replaced."""
    session = proxy.open()
    response = proxy.call("GET", f"{session}/stm", headers={"X-Trace-ID": "order-1"})
    assert response.headers["x-trace-id"] == "order-1"
    odd = proxy.call("GET", f"{session}/stm", headers={"X-Trace-ID": "two words"})
    assert odd.status == 200
    assert odd.headers["x-trace-id"].startswith("trace-")


def test_extending_by_nothing_ends(proxy: ServedProxy, other: ServedProxy, instance: int) -> None:
    """As with KATO, and no other session takes its place."""
    direct = call(instance, "POST", "/sessions", {"node_id": "n"}).json["session_id"]
    session = proxy.open()
    here = call(instance, "POST", f"/sessions/{direct}/extend?ttl_seconds=0")
    there = proxy.call("POST", f"{session}/extend?ttl_seconds=0")
    assert comparable(there) == comparable(here)
    assert [proxy.observe(session, "a").status, other.observe(session, "a").status] == [404, 404]


def test_node_header(proxy: ServedProxy) -> None:
    """Learned knowledge is asked for by the header that names the node, as well as by the query."""
    session = proxy.open("named")
    proxy.observe(session, "alpha", "beta")
    proxy.call("POST", f"{session}/learn")
    by_query = proxy.call("GET", "/symbols/stats?node_id=named").json
    by_header = proxy.call("GET", "/symbols/stats", headers={"X-Node-ID": "named"}).json
    assert by_header == by_query
    assert set(by_header["symbols"]) == {"alpha", "beta"}
