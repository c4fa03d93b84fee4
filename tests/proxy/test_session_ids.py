"""Ids of sessions: valid for as long as KATO would keep the session, at any proxy."""

import threading
import time

from kato_consul import Settings
from kato_consul.testing import Fleet
from kato_consul.testing.fleet import STORE
from kato_consul.testing.kato.instance import flush_sessions
from tests.proxy.served import Response, ServedProxy, call
from tests.testing.waiting import eventually

OK = 200
GONE = 404


def wait_for_status(proxy: ServedProxy, path: str, status: int) -> Response:
    """Return the first response with this status."""
    deadline = time.monotonic() + 15
    while (response := proxy.call("GET", path)).status != status:
        assert time.monotonic() < deadline, response
        time.sleep(0.2)
    return response


def test_lost_session(proxy: ServedProxy, other: ServedProxy, fleet: Fleet) -> None:
    """A session that KATO lost is restored, under the id that the caller has."""
    session = proxy.open(metadata={"who": "me"})
    proxy.observe(session, "a")
    flush_sessions(fleet.folder / STORE)
    assert proxy.call("GET", f"{session}/exists").json["exists"] is True
    answer = proxy.observe(session, "b").json
    assert f"/sessions/{answer['session_id']}" == session
    assert answer["time"] == 2
    assert other.stm(session) == [["a"], ["b"]]
    info = other.call("GET", session).json
    assert f"/sessions/{info['session_id']}" == session
    assert info["metadata"] == {"who": "me"}


def test_lost_session_that_no_proxy_owns(settings: Settings, fleet: Fleet) -> None:
    """A proxy that was not there restores it from its entry."""
    with ServedProxy(settings) as first:
        session = first.open()
        first.observe(session, "a")
    flush_sessions(fleet.folder / STORE)
    with ServedProxy(settings) as second:
        assert second.observe(session, "b").json["time"] == 2
        assert second.stm(session) == [["a"], ["b"]]


def test_two_proxies_in_turn(proxy: ServedProxy, other: ServedProxy) -> None:
    """A session is the same at each proxy."""
    session = proxy.open()
    for number in range(6):
        served = (proxy, other)[number % 2]
        assert served.observe(session, str(number)).json["time"] == number + 1
    assert proxy.stm(session) == [[str(number)] for number in range(6)]


def test_deleted_session(proxy: ServedProxy, other: ServedProxy) -> None:
    """What was deleted at one proxy is gone at each: no other session takes its place."""
    session = proxy.open()
    proxy.observe(session, "a")
    assert other.call("DELETE", session).json["status"] == "deleted"
    for served in (proxy, other, proxy):
        assert served.observe(session, "b").status == GONE
        assert served.call("GET", session).status == GONE
        assert served.call("GET", f"{session}/exists").json["exists"] is False
        assert served.call("DELETE", session).status == GONE


def test_expired_session(proxy: ServedProxy, other: ServedProxy) -> None:
    """A session that was not used for its time to live is gone, at the proxy that had it and at
    another one."""
    session = proxy.open(ttl_seconds=2)
    assert proxy.observe(session, "a").status == 200
    assert other.observe(session, "b").json["time"] == 2
    exists = f"{session}/exists"
    deadline = time.monotonic() + 15
    while proxy.call("GET", exists).json["exists"]:  # this does not renew it
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for served in (proxy, other):
        assert served.observe(session, "c").status == GONE
        assert served.call("GET", f"{session}/stm").status == GONE


def test_use_renews(proxy: ServedProxy) -> None:
    """Each use renews the time to live."""
    session = proxy.open(ttl_seconds=2)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert proxy.call("GET", f"{session}/stm").status == 200
        time.sleep(0.4)


def test_session_of_others(proxy: ServedProxy, other: ServedProxy, fleet: Fleet) -> None:
    """A session that was opened at an instance is used as it is."""
    instance = fleet.instances["kato-1"].port
    asked = {"node_id": "n", "config": {"persistence": 9}}
    session = f"/sessions/{call(instance, 'POST', '/sessions', asked).json['session_id']}"
    call(instance, "POST", f"{session}/observe", {"strings": ["direct"]})
    assert proxy.observe(session, "through").json["time"] == 2
    assert other.stm(session) == [["direct"], ["through"]]
    assert other.call("GET", f"{session}/config").json["config"]["persistence"] == 9


def test_unknown_ids_leave_nothing(proxy: ServedProxy, settings: Settings, fleet: Fleet) -> None:
    """Ids that KATO does not know cost nothing in the session directory."""
    for number in range(5):
        assert proxy.observe(f"/sessions/none-{number}", "a").status == GONE
    with ServedProxy(settings) as served:
        served.open()
    keys = call(int(fleet.agent.http_addr.rpartition(":")[2]), "GET", "/v1/kv/kato-consul/?keys")
    assert b"none-" not in keys.body


def test_without_directory(fleet: Fleet) -> None:
    """Without a session directory a proxy attaches to the sessions that KATO has."""
    with ServedProxy(fleet.settings) as first:
        session = first.open()
        first.observe(session, "a")
    with ServedProxy(fleet.settings) as second:
        assert second.observe(session, "b").json["time"] == 2
        assert second.call("DELETE", session).status == 200
        assert second.observe(session, "c").status == GONE


def test_use_that_ends_later_than_the_session_would(
    proxy: ServedProxy, other: ServedProxy, fleet: Fleet
) -> None:
    """A call in hand renews the session, also for the proxy that waits for it meanwhile."""
    key = {"Idempotency-Key": '"a-call-in-hand"'}
    session = proxy.open(ttl_seconds=3)
    assert other.observe(session, "a").status == OK
    assert proxy.observe(session, "b").status == OK
    used_at = time.monotonic()
    for instance in fleet.instances.values():
        instance.switch(slow=1.8)
    statuses: list[int] = []

    def observe(served: ServedProxy, symbol: str, **headers: str) -> None:
        statuses.append(served.observe(session, symbol, **headers).status)

    calls = [
        threading.Thread(target=observe, args=(proxy, "c"), kwargs=key),
        threading.Thread(target=observe, args=(other, "d")),
    ]
    assert eventually(lambda: time.monotonic() > used_at + 2)
    calls[0].start()
    assert eventually(lambda: time.monotonic() > used_at + 2.5)
    for instance in fleet.instances.values():
        instance.switch(slow=0.0)
    calls[1].start()
    for thread in calls:
        thread.join()
    assert statuses == [OK, OK]
    assert other.observe(session, "c", **key).json["time"] == 3
    assert other.stm(session) == [["a"], ["b"], ["c"], ["d"]]


def test_expired_session_of_a_proxy_that_ended(settings: Settings, other: ServedProxy) -> None:
    """A session that was handed over late does not live longer by that."""
    with ServedProxy(settings) as first:
        session = first.open(ttl_seconds=4)
        assert first.observe(session, "a").status == OK
        used_at = time.monotonic()
        assert eventually(lambda: time.monotonic() > used_at + 3)
    assert eventually(lambda: time.monotonic() > used_at + 5)
    assert other.call("GET", f"{session}/exists").json["exists"] is False
    assert other.observe(session, "b").status == GONE


def test_extended_by_less(proxy: ServedProxy) -> None:
    """A session that is to expire earlier does, at the proxy that has it, too."""
    session = proxy.open()
    proxy.observe(session, "a")
    assert proxy.call("POST", f"{session}/extend?ttl_seconds=1").status == OK
    extended_at = time.monotonic()
    assert eventually(lambda: time.monotonic() > extended_at + 2)
    assert proxy.call("GET", f"{session}/exists").json["exists"] is False
    assert proxy.observe(session, "b").status == GONE
