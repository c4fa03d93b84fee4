"""A progress callback that uses its session, while its process loses and regains it."""

from typing import Any

import httpx
import pytest

from kato_consul import Position
from kato_consul._owning.handover import SLICE
from tests.shared_sessions.callers import owns
from tests.shared_sessions.clients import WITHIN, Session
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually


def end_leases(site: Site) -> None:
    """End the leases of all processes, as an operator may."""
    if site.kind == "redis":
        redis = site.deployment.redis
        for key in redis.command("KEYS", f"kato-consul:{{{site.service}}}:owner:*"):
            redis.command("DEL", key)
        return
    url = f"http://127.0.0.1:{site.port}/v1/session"
    for one in httpx.get(f"{url}/list", trust_env=False).json():
        httpx.put(f"{url}/destroy/{one['ID']}", trust_env=False).raise_for_status()


def read(session: Session) -> Any:
    """Read the memory."""
    return session.real.stm()


def observe_with_key(session: Session) -> Any:
    """Make a call that may be repeated."""
    return session.real.observe(["from the callback"], idempotency_key="k")


def observe(session: Session) -> Any:
    """Make a call that may not."""
    return session.real.observe(["from the callback"])


def test_another_process_waits(site: Site) -> None:
    """It gets the session after the sequence, and not when the callback has used it."""
    session = site.client("sync").session("user-1")
    session.observe(["a"])
    waiting: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not waiting:
            other = site.client("sync").session("user-1")
            waiting.append(other.start("observe", ["other"]))
            assert eventually(lambda: "user-1" in session.client.wanted)
            session.real._state.ownership.held.acquired_at -= 10 * SLICE
            session.real.stm()

    session.observe_sequence([[f"s{n}"] for n in range(3)], chunk=1, progress=progress)
    waiting[0].result(WITHIN)
    assert session.symbols() == ["a", "s0", "s1", "s2", "other"]


@pytest.mark.parametrize("use", [read, observe, observe_with_key])
@pytest.mark.parametrize("more", [{}, {"position": Position("log", 0, 0)}], ids=["", "repeatable"])
def test_the_lease_ends_in_a_callback(site: Site, use: Any, more: dict[str, Any]) -> None:
    """The session is acquired again, and the sequence goes on where it was."""
    session = site.client("sync").session("user-1")
    used: list[Any] = []

    def progress(done: int, total: int) -> None:
        if done == 2 and not used:
            end_leases(site)
            assert eventually(lambda: not owns(session))
            used.append(use(session))

    events = [[f"s{number}"] for number in range(4)]
    session.observe_sequence(events, chunk=1, progress=progress, **more)
    assert used
    added = [] if use is read else ["from the callback"]
    expected = ["s0", "s1", *added, "s2", "s3"]
    assert session.symbols() == expected
    assert site.stored_symbols(session.id) == expected
