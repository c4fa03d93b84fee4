"""Odd answers of Consul: the watch survives each, and uses the next good one."""

import json

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kato_consul._consul.health_query import HealthQuery
from kato_consul._flow import Reply
from tests.building import reply
from tests.discovery.test_watch import Watched, health
from tests.fuzzing import EXAMPLES, SEED, json_bodies, json_values

NAMES = (
    "Node Service Checks Address ID Port Tags Meta Weights Passing Warning Status CheckID Name "
    "Output Notes Nodes Datacenter zone"
)

PREPARED = HealthQuery("kato", prepared_query="near")


def record(**service: object) -> dict[str, object]:
    """Return the record of one passing instance, with parts of its service replaced."""
    return {
        "Node": {"Node": "n1", "Address": "10.0.0.1"},
        "Service": {"ID": "kato-1", "Service": "kato", "Address": "", "Port": 8000, **service},
        "Checks": [{"CheckID": "alive", "Status": "passing"}],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"<html>",
        b"[null]",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        b'[{"Node": {}, "Checks": []}]',
        json.dumps([record(Port="x")]).encode(),
        json.dumps([record(Meta={"zone": 1})]).encode(),
        json.dumps([record(ID=None)]).encode(),
        json.dumps([{"Node": [[[[]]]] * 100}]).encode(),
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_watch_survives_an_odd_body(body: bytes) -> None:
    """An unreadable body is an error of Consul's; the next answer is used."""
    watched = Watched(Reply(200, {"x-consul-index": "3"}, body), health(7, "kato-1"))
    assert watched.published == [[], ["kato-1"]]  # the error was published, too
    assert watched.store.last_error is None


@pytest.mark.parametrize(
    "headers",
    [
        {"x_consul_index": "x"},
        {"x_consul_index": ""},
        {"x_consul_index": "-5"},
        {"x_consul_index": "9" * 400},
        {"x_consul_index": "9" * 5_000},
        {"x_consul_index": "3", "x_consul_lastcontact": "9" * 400},
        {"x_consul_index": "3", "x_consul_lastcontact": "9" * 5_000},
        {"x_consul_index": "3", "age": "9" * 400},
        {"x_consul_index": "3", "x_consul_lastcontact": "-1", "age": "\u0663"},
    ],
)
def test_watch_survives_odd_headers(headers: dict[str, str]) -> None:
    """An index or an age that is no usable number does not end the watch."""
    watched = Watched(reply(200, [record()], **headers), health(7, "kato-1", "kato-2"))
    assert watched.published[-1] == ["kato-1", "kato-2"]


def test_instance_with_an_invalid_address_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the snapshot, is not usable, and is logged when it is first listed."""
    bad = [record(ID="bad", Port=99_999), record()]
    worse = [record(ID="bad", Port=99_999), record(Port=9_000)]
    corrected = [record(ID="bad", Port=9_001), record(Port=9_000)]
    watched = Watched(
        *(
            reply(200, body, x_consul_index=str(index))
            for index, body in enumerate([bad, worse, corrected, bad], start=1)
        )
    )
    assert watched.store.current is not None
    assert [one.id for one in watched.store.current.instances] == ["bad", "kato-1"]
    assert [one.id for one in watched.store.current.usable] == ["kato-1"]
    logged = [record.getMessage() for record in caplog.records]
    assert [text.split()[0] for text in logged] == ["instance.unusable"] * 2
    assert "id='bad'" in logged[0]
    assert "99999" in logged[0]


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    body=st.one_of(
        json_bodies(NAMES),
        st.lists(
            st.dictionaries(
                st.sampled_from(["Address", "Port", "ID", "Weights", "Meta", "Tags"]),
                json_values(NAMES),
            ).map(lambda parts: record(**parts)),
            max_size=3,
        ).map(lambda records: json.dumps(records).encode()),
    ),
    headers=st.dictionaries(
        st.sampled_from(["x-consul-index", "x-consul-lastcontact", "age", "retry-after", "date"]),
        st.one_of(st.text(max_size=8), st.integers().map(str), st.just("9" * 400)),
    ),
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 429, 500, 503]),
    query=st.sampled_from([HealthQuery("kato"), PREPARED]),
)
def test_watch_survives_any_answer(
    body: bytes, headers: dict[str, str], status: int, query: HealthQuery
) -> None:
    """Whatever Consul answers, the watch goes on, and uses the next good answer."""
    good = health(7, "kato-9")
    if query is PREPARED:
        assert isinstance(good, Reply)
        good = Reply(200, good.headers, b'{"Nodes": ' + good.body + b"}")
    # An empty answer is confirmed by a second one, and one without a change is not decoded.
    watched = Watched(Reply(status, headers, body), good, good, query=query)
    assert watched.published[-1] == ["kato-9"]
    assert all(0.0 <= seconds <= 120.0 for seconds in watched.player.slept)
