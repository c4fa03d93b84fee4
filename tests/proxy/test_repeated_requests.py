"""Requests with an idempotency key, repeated at one proxy or another."""

import threading
import time
import uuid
from dataclasses import replace
from typing import Any

import pytest

from kato_consul import SessionDirectory, Settings
from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.cli.running import line_with, started
from tests.proxy.served import Response, ServedProxy, call
from tests.testing.waiting import eventually

GONE = 404
REUSED = 422
LONG = {
    "observations": [
        {"strings": [f"s{n}", "t"], "unique_id": ["", f"u{n}"][n % 2]} for n in range(20)
    ]
}
"""A sequence whose answer is too long to be kept."""


@pytest.fixture
def key() -> dict[str, str]:
    """The header with a key of the test's own."""
    return {"Idempotency-Key": f'"{uuid.uuid4()}"'}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("observe", {"strings": ["a"]}),
        ("observe-sequence", {"observations": [{"strings": ["a"]}, {"strings": ["b"]}]}),
        ("observe-sequence", {"observations": [{"strings": ["a"]}], "learn_at_end": True}),
        ("observe-sequence", LONG),
        ("observe-sequence", {**LONG, "learn_at_end": True}),
        ("observe-sequence", {**LONG, "learn_after_each": True}),
        ("observe-sequence", {**LONG, "clear_stm_between": True}),
        ("learn", None),
        ("clear-stm", None),
        ("clear-all", None),
        ("config", {"config": {"persistence": 9}}),
        ("extend?ttl_seconds=50", None),
        ("finalize-training", None),
    ],
)
def test_same_answer(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, path: str, body: Any
) -> None:
    """A repeated request is answered as the first, by any proxy, and changes nothing."""
    session = proxy.open()
    proxy.observe(session, "x", "y")
    first = proxy.call("POST", f"{session}/{path}", body, key)
    assert first.status == 200
    proxy.observe(session, "later")
    before = proxy.stm(session)
    assert proxy.call("POST", f"{session}/{path}", body, key).json == first.json
    assert other.call("POST", f"{session}/{path}", body, key).json == first.json
    assert other.stm(session) == before


@pytest.mark.parametrize("rolling", [False, True])
def test_same_names_of_patterns(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, rolling: bool
) -> None:
    """So is a sequence during which KATO has learned by itself."""
    mode = "ROLLING" if rolling else "CLEAR"
    session = proxy.open(config={"max_pattern_length": 3, "stm_mode": mode})
    proxy.observe(session, "x", "y")
    first = proxy.call("POST", f"{session}/observe-sequence", LONG, key)
    assert first.status == 200
    assert any(entry["auto_learned_pattern"] for entry in first.json["results"])
    for served in (proxy, other):
        assert served.call("POST", f"{session}/observe-sequence", LONG, key).json == first.json


@pytest.mark.parametrize("flags", [{}, {"learn_at_end": True}, {"clear_stm_between": True}])
def test_same_answer_after_a_crash(
    key: dict[str, str], fleet: Fleet, other: ServedProxy, flags: dict[str, bool]
) -> None:
    """What only a proxy knows that is killed is made again from the counters."""
    port = free_ports(1)[0]
    options = ("--listen", f"127.0.0.1:{port}", "--consul", fleet.agent.http_addr)
    with started("proxy", *options) as process:
        line_with(process, "serving")
        opened = call(port, "POST", "/sessions", {"node_id": "node"})
        target = f"/sessions/{opened.json['session_id']}/observe-sequence"
        call(port, "POST", target, {"observations": [{"strings": ["x", "y"]}]})
        first = call(port, "POST", target, {**LONG, **flags}, key)
    assert first.status == 200
    assert other.call("POST", target, {**LONG, **flags}, key).json == first.json


@pytest.mark.parametrize("count", [101, 250])
@pytest.mark.parametrize(
    "flags", [{}, {"clear_stm_between": True}, {"learn_at_end": True, "clear_stm_between": True}]
)
def test_same_answer_of_several_requests(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, count: int, flags: dict[str, bool]
) -> None:
    """So is a sequence that the proxy has cut in pieces."""
    session = proxy.open()
    proxy.observe(session, "x", "y")
    asked = {"observations": [{"strings": [f"s{n}"]} for n in range(count)], **flags}
    first = proxy.call("POST", f"{session}/observe-sequence", asked, key)
    assert (first.status, len(first.json["results"])) == (200, count)
    for served in (proxy, other):
        assert served.call("POST", f"{session}/observe-sequence", asked, key).json == first.json


def test_same_answer_after_another_configuration(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy
) -> None:
    """When KATO learns by itself is what it was then."""
    session = proxy.open(config={"max_pattern_length": 3})
    asked = {**LONG, "observations": LONG["observations"][:18]}
    first = proxy.call("POST", f"{session}/observe-sequence", asked, key)
    proxy.call("POST", f"{session}/config", {"config": {"max_pattern_length": 0}})
    for served in (proxy, other):
        assert served.call("POST", f"{session}/observe-sequence", asked, key).json == first.json


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        ({}, {"observations": []}),
        ({}, {"observations": [], "learn_at_end": True}),
        ({"max_pattern_length": 2}, {**LONG, "learn_at_end": True}),
    ],
)
def test_same_answer_of_what_does_nothing(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, config: Any, asked: Any
) -> None:
    """So is a sequence without events, or at whose end there is nothing to learn."""
    session = proxy.open(config=config)
    if not config:
        proxy.observe(session, "x", "y")
    first = proxy.call("POST", f"{session}/observe-sequence", asked, key)
    assert first.status == 200
    assert first.json["initial_stm_length"] == (not config)
    assert first.json["final_learned_pattern"] is None
    for served in (proxy, other):
        assert served.call("POST", f"{session}/observe-sequence", asked, key).json == first.json


@pytest.mark.parametrize("config", [{}, {"max_predictions": -1}])
def test_new_session(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, config: dict[str, int]
) -> None:
    """A repeated creation returns the same session, which exists once, and is usable."""
    asked = {"node_id": "n", "metadata": {"a": 1}, "config": config}
    first = proxy.call("POST", "/sessions", asked, key)
    assert other.call("POST", "/sessions", asked, key).json == first.json
    session = f"/sessions/{first.json['session_id']}"
    assert other.observe(session, "a").json["time"] == 1
    assert proxy.call("POST", "/sessions", asked, key).json == first.json
    assert proxy.observe(session, "b").json["time"] == 2


@pytest.mark.parametrize(
    ("path", "body", "another"),
    [
        ("observe", {"strings": ["a"]}, {"strings": ["b"]}),
        ("config", {"config": {"persistence": 9}}, {"config": {"persistence": 8}}),
        ("", {"node_id": "n"}, {"node_id": "m"}),
    ],
)
def test_another_body(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, path: str, body: Any, another: Any
) -> None:
    """A key that is used for another request is a 422, at any proxy."""
    target = f"{proxy.open()}/{path}" if path else "/sessions"
    assert proxy.call("POST", target, body, key).status == 200
    for served in (proxy, other):
        refused = served.call("POST", target, another, key)
        assert refused.status == 422
        assert refused.json["title"] == "IdempotencyKeyReused"


def test_another_method(key: dict[str, str], proxy: ServedProxy) -> None:
    """So is one that was used for another call of the session."""
    session = proxy.open()
    assert proxy.observe(session, "a", **key).status == 200
    assert proxy.call("POST", f"{session}/clear-stm", headers=key).status == 422
    assert proxy.stm(session) == [["a"]]


def test_in_hand(key: dict[str, str], proxy: ServedProxy, fleet: Fleet) -> None:
    """A request that comes while the first one is in hand is a 409."""
    session = proxy.open()
    for instance in fleet.instances.values():
        instance.switch(slow=1.0)
    responses: list[Response] = []
    both = [
        threading.Thread(target=lambda: responses.append(proxy.observe(session, "a", **key)))
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(one.status for one in responses) == [200, 409]
    assert proxy.observe(session, "a", **key).status == 200
    assert proxy.stm(session) == [["a"]]


def test_refused_request_may_be_repeated(key: dict[str, str], proxy: ServedProxy) -> None:
    """What KATO refuses has changed nothing: it is not recorded, and a repetition is sent again."""
    session = proxy.open()
    refused = proxy.call("POST", f"{session}/learn", headers=key)
    assert (refused.status, refused.json) == (400, {"detail": "Cannot learn from empty STM"})
    proxy.observe(session, "a", "b")
    assert proxy.call("POST", f"{session}/learn", headers=key).json["status"] == "learned"


def test_malformed_key(proxy: ServedProxy) -> None:
    """A header that is no string is a 400, and nothing is applied."""
    session = proxy.open()
    assert proxy.observe(session, "a", **{"Idempotency-Key": '"a'}).status == 400
    assert proxy.stm(session) == []
    assert proxy.call("GET", f"{session}/stm", headers={"Idempotency-Key": '"a'}).status == 200


@pytest.mark.parametrize("at_another", [False, True])
def test_new_session_that_was_deleted(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy, at_another: bool
) -> None:
    """A creation that is repeated after the session was deleted does not bring it back."""
    first = proxy.call("POST", "/sessions", {"node_id": "n"}, key)
    session = f"/sessions/{first.json['session_id']}"
    proxy.observe(session, "a")
    assert proxy.call("DELETE", session).status == 200
    again = (other if at_another else proxy).call("POST", "/sessions", {"node_id": "n"}, key)
    assert again.json == first.json
    for served in (proxy, other):
        assert served.call("GET", f"{session}/exists").json["exists"] is False
        assert served.observe(session, "b").status == GONE


def test_new_session_that_expired(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy
) -> None:
    """Nor does one that is repeated after it has expired."""
    asked = {"node_id": "n", "ttl_seconds": 1}
    first = proxy.call("POST", "/sessions", asked, key)
    session = f"/sessions/{first.json['session_id']}"
    assert eventually(lambda: not proxy.call("GET", f"{session}/exists").json["exists"])
    for served in (proxy, other):
        assert served.call("POST", "/sessions", asked, key).json == first.json
        assert served.observe(session, "b").status == GONE


def test_new_session_with_much_metadata(
    key: dict[str, str], proxy: ServedProxy, other: ServedProxy
) -> None:
    """A creation with a long response exists once, too."""
    asked = {"node_id": "n", "metadata": {"a": "x" * 30_000}}
    first = proxy.call("POST", "/sessions", asked, key)
    assert first.status == 200
    for served in (proxy, other):
        assert served.call("POST", "/sessions", asked, key).json == first.json


def test_key_of_a_session_that_lives_long(
    key: dict[str, str], proxy: ServedProxy, fleet: Fleet
) -> None:
    """The key of a creation is known for twice the session's time to live."""
    asked = {"node_id": "n", "ttl_seconds": 1_000_000}
    assert proxy.call("POST", "/sessions", asked, key).status == 200
    text = key["Idempotency-Key"].strip('"')
    with SessionDirectory(replace(fleet.settings, session_directory="consul")) as directory:
        (entry,) = (one for one in directory.entries() if one.key.endswith(text))
    assert entry.expires_at is not None
    assert entry.expires_at - time.time() > 2 * 1_000_000 - 100


def test_new_session_of_another_caller(
    key: dict[str, str], proxy: ServedProxy, settings: Settings
) -> None:
    """A caller with another API key does not get the session, whatever its idempotency key is."""
    asked = {"node_id": "n"}
    mine = proxy.call("POST", "/sessions", asked, key).json["session_id"]
    with ServedProxy(settings, caller="shop") as served:
        theirs = served.call("POST", "/sessions", asked, key).json["session_id"]
        assert theirs != mine
        assert served.call("POST", "/sessions", asked, key).json["session_id"] == theirs
        assert served.call("POST", "/sessions", {"node_id": "m"}, key).status == REUSED
