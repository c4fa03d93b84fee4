"""The KV store's calls: requests and responses, without a server."""

import json
from typing import Any

import pytest

from kato_consul._consul.call import ConsulCall, call_consul
from kato_consul._consul.kv_api import (
    KvApi,
    Record,
    Records,
    Refused,
    check_at,
    delete,
    delete_at,
    lock,
    unlock,
)
from kato_consul._flow import Outcome, Send
from kato_consul.errors import ConsulDenied, ConsulRejected, ConsulUnavailable
from tests.building import reply
from tests.flows import Player

api = KvApi("http://consul.test:8500", datacenter="dc2", parameters={"ns": "team"})


def run(call: ConsulCall[Any], outcome: Outcome) -> Any:
    """Return the result of a call for an outcome."""
    return Player(lambda send: outcome).play(call_consul(call))


def target(send: Send) -> str:
    """Return method and target of a request."""
    return f"{send.method} {send.target}"


def test_requests_are_to_the_agents_own_datacenter() -> None:
    """No request has the datacenter that is discovered: Consul sessions belong to the agent's."""
    assert target(api.read_keys("a/%2F/").send) == "GET /v1/kv/a/%252F/?recurse=&ns=team"
    assert target(api.read_keys("a", one=True).send) == "GET /v1/kv/a?ns=team"
    blocking = api.read_keys("a", one=True, index=7, wait=1.5).send
    assert target(blocking) == "GET /v1/kv/a?index=7&wait=1.500s&ns=team"
    assert blocking.timeout > 1.5 * 17 / 16
    assert target(api.transact([delete("a")]).send) == "PUT /v1/txn?ns=team"
    assert target(api.has_session("s").send) == "GET /v1/session/info/s?consistent=&ns=team"
    assert target(api.destroy_session("s").send) == "PUT /v1/session/destroy/s?ns=team"
    create = api.create_session("owner", "check", 1.0).send
    assert json.loads(create.body) == {
        "Name": "owner",
        "NodeChecks": ["serfHealth"],
        "ServiceChecks": [{"ID": "check"}],
        "LockDelay": "1000ms",
        "Behavior": "release",
    }
    body = json.loads(api.transact([lock("a", b"1", "s"), unlock("b", b"", "s")]).send.body)
    assert body == [
        {"KV": {"Verb": "lock", "Key": "a", "Value": "MQ==", "Session": "s"}},
        {"KV": {"Verb": "unlock", "Key": "b", "Value": "", "Session": "s"}},
    ]


def test_checks() -> None:
    """An index of 0 is a key that does not exist."""
    assert check_at("a", 0) == {"Verb": "check-not-exists", "Key": "a"}
    assert check_at("a", 3) == {"Verb": "check-index", "Key": "a", "Index": 3}
    record = Record("a", modify_index=4)
    assert delete_at(record) == {"Verb": "delete-cas", "Key": "a", "Index": 4}


def test_reads() -> None:
    """Records have their values; a key that is not there is none."""
    body = [
        {"Key": "a", "Value": "MQ==", "Session": "s", "CreateIndex": 1, "ModifyIndex": 2},
        {"Key": "b", "Value": None, "CreateIndex": 3, "ModifyIndex": 3, "Flags": 0},
    ]
    found = (Record("a", b"1", "s", 1, 2), Record("b", None, "", 3, 3))
    read = api.read_keys("a")
    assert run(read, reply(200, body, x_consul_index="9")) == Records(found, 9)
    assert run(read, reply(404, x_consul_index="9")) == Records((), 9)
    for other in (reply(404, b"no page"), reply(200, body), reply(200, b"<", x_consul_index="9")):
        with pytest.raises(ConsulRejected):
            run(read, other)


def errors(*texts: str) -> dict[str, Any]:
    """Return Consul's answer to a transaction that it refused."""
    return {"Results": None, "Errors": [{"OpIndex": 0, "What": text} for text in texts]}


def test_transactions() -> None:
    """The result is what was written and read, or why it was refused."""
    call = api.transact([lock("a", b"1", "s")])
    record = {"Key": "a", "Value": None, "Session": "s", "CreateIndex": 1, "ModifyIndex": 2}
    done = run(call, reply(200, {"Results": [{"KV": record}], "Errors": None}))
    assert done == (Record("a", None, "s", 1, 2),)
    assert run(call, reply(200, {"Results": None, "Errors": None})) == ()
    delayed = run(call, reply(409, errors('failed to lock key "a" due to lock delay')))
    assert isinstance(delayed, Refused)
    assert (delayed.by_lock_delay, delayed.by_lost_session) == (True, False)
    lost = run(call, reply(409, errors('invalid session "s"', "second")))
    assert lost == Refused('invalid session "s"; second')
    assert lost.by_lost_session
    held = run(call, reply(409, errors('failed to lock key "a", lock is already held')))
    assert (held.by_lock_delay, held.by_lost_session) == (False, False)
    with pytest.raises(ConsulDenied, match="denied a transaction on 'a': Permission denied"):
        run(call, reply(409, errors("Permission denied")))
    with pytest.raises(ConsulRejected, match="too large"):
        run(call, reply(413, b"Request body too large"))
    with pytest.raises(ConsulUnavailable):
        run(call, reply(500, b"No cluster leader"))


def test_a_conflict_of_another_call_is_an_error() -> None:
    """Only transactions may be refused."""
    with pytest.raises(ConsulRejected, match="409"):
        run(api.destroy_session("s"), reply(409, b"conflict"))
