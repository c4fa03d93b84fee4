"""Generated requests: the proxy answers each as an instance that is asked directly.

A body is what KATO's OpenAPI has, with some of its values replaced by others: of another type, too
large, or no JSON at all.
"""

import json
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kato_consul.testing import Fleet
from tests.fuzzing import EXAMPLES, SEED, json_bodies
from tests.proxy.served import Response, ServedProxy, call


class Generated(NamedTuple):
    """A request below a session's path, unless that is not ``of_session``."""

    method: str
    path: str
    body: bytes | None
    of_session: bool = True


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["1", "0.5", "true", "no", "", " 1 "]),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def mostly(expected: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values as expected, or any others."""
    return st.one_of(expected, expected, anything)


symbols = st.lists(mostly(st.text(max_size=8)), max_size=3)
numbers = st.one_of(st.integers(-1000, 1000), st.floats(-1e9, 1e9))
observation = st.fixed_dictionaries(
    {},
    optional={
        "strings": mostly(symbols),
        "vectors": mostly(st.lists(st.lists(mostly(numbers), max_size=3), max_size=2)),
        "emotives": mostly(st.dictionaries(st.text(max_size=4), mostly(numbers), max_size=2)),
        "metadata": mostly(st.dictionaries(st.text(max_size=4), anything, max_size=2)),
        "unique_id": mostly(st.text(max_size=4)),
    },
)
flag = mostly(st.booleans())
sequence = st.fixed_dictionaries(
    {},
    optional={
        "observations": mostly(st.lists(mostly(observation), max_size=3)),
        "learn_after_each": flag,
        "learn_at_end": flag,
        "clear_stm_between": flag,
    },
)
configuration = st.dictionaries(
    st.sampled_from(
        ["max_pattern_length", "persistence", "recall_threshold", "stm_mode", "max_predictions"]
    )
    | st.text(max_size=4),
    mostly(numbers),
    max_size=2,
)
creation = st.fixed_dictionaries(
    {},
    optional={
        "node_id": mostly(st.text(min_size=1, max_size=8)),
        "metadata": mostly(st.dictionaries(st.text(max_size=4), anything, max_size=2)),
        "ttl_seconds": mostly(st.integers(1, 10**6)),
        "config": mostly(configuration),
    },
)


NAMES = "strings vectors emotives metadata unique_id observations node_id ttl_seconds config"


def encoded(bodies: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return bodies as JSON, sometimes cut, and others that are odder."""
    whole = mostly(bodies).map(lambda body: json.dumps(body).encode())
    cut = st.builds(lambda body, length: body[:length], whole, st.integers(0, 20))
    return st.one_of(whole, whole, whole, cut, json_bodies(NAMES))


PATHS = (
    "/sessions/{}",
    "/sessions/{}/stm",
    "/sessions/{}/exists",
    "/sessions/{}/predictions?x={}",
    "/sessions/test/{}",
    "/pattern/{}?node_id={}",
    "/symbols/{}/affinity",
    "/symbols/affinity?node_id={}",
    "/metrics/{}?minutes={}",
    "/stats?minutes={}",
    "/no-such-path/{}",
)
paths = st.text(min_size=1, max_size=12).map(lambda text: quote(text, safe=""))
requests = st.one_of(
    encoded(observation).map(lambda body: Generated("POST", "/observe", body)),
    encoded(sequence).map(lambda body: Generated("POST", "/observe-sequence", body)),
    encoded(st.one_of(configuration, st.fixed_dictionaries({"config": configuration}))).map(
        lambda body: Generated("POST", "/config", body)
    ),
    encoded(creation).map(lambda body: Generated("POST", "/sessions", body, of_session=False)),
    st.one_of(st.integers(1, 10**6), st.text(st.characters(exclude_categories=["N", "Cs"]))).map(
        lambda ttl: Generated("POST", f"/extend?ttl_seconds={quote(str(ttl))}", None)
    ),
    st.builds(
        lambda path, body: Generated("POST", path, body),
        st.sampled_from(["/learn", "/clear-stm", "/clear-all", "/finalize-training"]),
        encoded(anything),
    ),
    st.builds(
        lambda path, text: Generated("GET", path.replace("{}", text), None, of_session=False),
        st.sampled_from(PATHS),
        paths,
    ),
)


def form(response: Response) -> tuple[Any, ...]:
    """Return what must be equal of two responses: the status, and the form of the body."""
    body = response.json
    content = response.headers.get("content-type")
    if isinstance(body, dict) and isinstance(body.get("detail"), list):
        return response.status, content, [(one["type"], one["loc"]) for one in body["detail"]]
    return response.status, content, sorted(body) if isinstance(body, dict) else type(body)


def is_json(body: bytes | None) -> bool:
    """Return whether a body is JSON: NaN, Infinity and half a character are none."""
    try:
        msgspec.json.decode(body or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


@pytest.fixture(scope="module")
def direct(running_fleet: Fleet) -> int:
    """The port of an instance."""
    return next(iter(running_fleet.instances.values())).port


@seed(SEED)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(request=requests)
def test_any_request_is_answered_as_by_an_instance(
    proxy: ServedProxy, direct: int, request: Generated
) -> None:
    """The status, the media type, the fields, and what is wrong with which field."""
    answers = []
    for port in (direct, proxy.port):
        path = request.path
        if request.of_session:
            body = {"node_id": "generated", "config": {"process_predictions": False}}
            created = call(port, "POST", "/sessions", body)
            path = f"/sessions/{created.json['session_id']}{path}"
        answers.append(call(port, request.method, path, request.body))
    kato, proxied = map(form, answers)
    if proxied[2] == [("unsupported", ["body"])]:
        assert not is_json(request.body)
    else:
        assert proxied == kato, (request, answers)
