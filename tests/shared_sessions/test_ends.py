"""Ends of a client that shares sessions: closed, exited, forked, collected, interrupted."""

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kato_consul import KatoClient, Settings
from kato_consul.errors import OutcomeUnknown
from kato_consul.testing.fault_plan import Fault, every
from tests.shared_sessions.callers import other, owns
from tests.shared_sessions.clients import SHELLS, WITHIN, Shell
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> Shell:
    """Each shell, as that of the first client."""
    shell: Shell = request.param
    return shell


def client_threads() -> set[str]:
    """Return the names of the threads of clients."""
    return {one.name for one in threading.enumerate() if one.name.startswith("kato-consul")}


def test_a_closed_client_hands_its_sessions_over(site: Site, shell: Shell) -> None:
    """All of its sessions are free at once, and nothing of it is left."""
    before = client_threads()
    client = site.client(shell)
    for number in range(40):
        client.session(f"user-{number}").observe(["a"])
    client.close()
    assert client_threads() == before
    two = site.client(other(shell))
    for number in range(40):
        session = two.session(f"user-{number}")
        session.observe(["b"])
        assert session.symbols() == ["a", "b"]
        assert session.facts.takeovers == 0


def test_a_closed_client_has_a_call_in_hand(site: Site, shell: Shell) -> None:
    """The call ends with an error that says so; another process takes the session over, in which
    the observation is at most once."""
    client = site.client(shell)
    session = client.session("user-1")
    session.observe(["a"])
    for instance in site.deployment.instances:
        instance.switch(slow=1.0)
    calling = session.start("observe", ["x"])
    assert eventually(lambda: session.real._state.pending is not None)
    client.close()
    assert calling.exception(WITHIN) is not None
    for instance in site.deployment.instances:
        instance.switch(slow=0.0)
    two = site.client(other(shell)).session("user-1")
    two.observe(["b"])
    assert two.symbols() in (["a", "b"], ["a", "x", "b"])
    assert two.facts.takeovers == 1


def test_a_client_is_closed_before_it_knows_that_it_still_owns(site: Site, shell: Shell) -> None:
    """KATO has applied the write and answered, after the lease. The error does not say that nothing
    was sent; another process finds the observation."""
    client = site.client(shell)
    session = client.session("user-1")
    session.observe(["a"])
    for proxy in site.deployment.proxies:
        proxy.plan = every(1, Fault.HANG_APPLIED)
    calling = session.start("observe", ["x"])
    assert eventually(lambda: session.real._state.pending is not None)
    site.links[0].hold(True)
    assert eventually(lambda: not owns(session))
    site.deployment.heal()
    assert eventually(lambda: not site.deployment.in_flight())
    client.close()
    with pytest.raises(OutcomeUnknown) as caught:
        calling.result(WITHIN)
    assert caught.value.closed
    assert site.client(other(shell)).session("user-1").symbols() == ["a", "x"]


def test_a_client_that_waits_is_closed(site: Site, shell: Shell) -> None:
    """Its call ends at once, and the next waiter does not wait for it."""
    one = site.client(shell).session("user-1")
    waiter = site.client(other(shell))
    three = site.client(shell).session("user-1")
    one.observe(["a"])
    busy = one.start("observe_sequence", [[f"s{n}"] for n in range(200)], chunk=1)
    waiting = waiter.session("user-1").start("observe", ["x"])
    assert eventually(lambda: "user-1" in one.client.wanted)
    after = three.start("observe", ["b"])
    waiter.close()
    error = waiting.exception(WITHIN)
    assert getattr(error, "sent", None) is False
    busy.result(WITHIN)
    after.result(WITHIN)
    assert three.symbols() == ["a", *(f"s{n}" for n in range(200)), "b"]


def test_a_process_exits_without_closing(site: Site, shell: Shell) -> None:
    """Its sessions are taken over when its lease has ended."""
    one = site.process(shell)
    one.call("observe", ["a"])
    one.start("exit")
    two = site.client(other(shell)).session("user-1")
    two.observe(["b"])
    assert two.symbols() == ["a", "b"]
    assert two.facts.takeovers == 1


def test_two_threads_begin(site: Site) -> None:
    """The first calls of a client come from two threads at the same moment: its background work
    begins once. Otherwise it would have two leases, and know one."""
    before = len(client_threads())
    client = site.client()
    driver = client.kato._shared._driver
    check, both = driver.check_usable, threading.Barrier(2)

    def check_together() -> None:
        check()
        if not client.kato._shared._begun:
            both.wait(WITHIN)

    driver.check_usable = check_together
    calls = [client.session(f"user-{n}").start("observe", ["a"]) for n in range(2)]
    for call in calls:
        call.result(WITHIN)
    names = [one.name for one in threading.enumerate() if one.name.startswith("kato-consul")]
    assert len(names) == len(set(names)) + before, names


def drop(held: list[KatoClient]) -> None:
    """Drop a client without closing it."""
    held.clear()
    gc.collect()


def test_a_client_is_collected(site: Site) -> None:
    """A client that is dropped ends its background work; its sessions are taken over."""
    before = client_threads()
    held = [KatoClient(Settings(**site.settings()))]
    held[0].session("user-1").observe(["a"])
    assert client_threads() != before
    with pytest.warns(ResourceWarning, match="unclosed KatoClient"):
        drop(held)
    assert eventually(lambda: client_threads() == before)
    two = site.client().session("user-1")
    two.observe(["b"])
    assert two.symbols() == ["a", "b"]


FORKED = """
import json, os, sys
from kato_consul import KatoClient, Settings
given = json.loads(sys.argv[1])
given["kato_urls"] = tuple(given.get("kato_urls", ()))
kato = KatoClient(Settings(**given))
kato.session("user-1").observe(["parent"])
if os.fork():
    _, status = os.wait()
    kato.session("user-1").observe(["parent again"])
    print(kato.session("user-1").facts.takeovers, [e for (e,) in kato.session("user-1").stm()])
    kato.close()
    sys.exit(status)
kato.session("user-1").observe(["child"])
assert kato.session("user-1").facts.takeovers == 0
kato.close()
os._exit(0)
"""


def test_a_process_forks_after_use(site: Site) -> None:
    """The child is another owner: the session goes from one to the other, in order."""
    import json

    completed = subprocess.run(
        [sys.executable, "-c", FORKED, json.dumps(site.settings())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() == "0 ['parent', 'child', 'parent again']"


def test_ctrl_c_while_waiting_for_a_session(site: Site) -> None:
    """The wait ends and the client goes on; the interrupted call holds nothing up."""
    one = site.client().session("user-1")
    two = site.client().session("user-1")
    one.observe(["a"])
    busy = one.start("observe_sequence", [[f"s{n}"] for n in range(300)], chunk=1)

    def interrupt() -> None:
        eventually(lambda: "user-1" in one.client.wanted)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        two.observe(["x"])
    busy.result(WITHIN)
    one.observe(["b"])
    assert owns(one)
    two.observe(["c"])
    assert one.symbols() == ["a", *(f"s{n}" for n in range(300)), "b", "c"]


def test_a_task_is_cancelled_while_it_waits(site: Site) -> None:
    """The same on asyncio."""
    one = site.client("async").session("user-1")
    client = site.client("async")
    two = client.session("user-1")
    one.observe(["a"])
    busy = one.start("observe_sequence", [[f"s{n}"] for n in range(300)], chunk=1)
    started: list[object] = []

    async def wait() -> None:
        import asyncio

        task = asyncio.ensure_future(two.real.observe(["x"]))
        started.append(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    waiting = client.start(wait)
    assert eventually(lambda: "user-1" in one.client.wanted)
    client.loop.call_soon_threadsafe(started[0].cancel)  # type: ignore[attr-defined]
    waiting.result(WITHIN)
    busy.result(WITHIN)
    one.observe(["b"])
    two.observe(["c"])
    assert one.symbols() == ["a", *(f"s{n}" for n in range(300)), "b", "c"]


PRELOADED = """
import asyncio, json, os, sys
from kato_consul import AsyncKatoClient, Settings
given = json.loads(sys.argv[1])
given["kato_urls"] = tuple(given.get("kato_urls", ()))
kato = AsyncKatoClient(Settings(**given))
session = kato.session("user-1")

async def observe(who):
    for number in range(20):
        await session.observe([f"{who}{number:02}"])
    await kato.aclose()

children = []
for who in "xyz":
    child = os.fork()
    if not child:
        asyncio.run(observe(who))
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def test_an_async_client_is_created_before_forks(site: Site) -> None:
    """As by a server that loads the application before it forks its workers: each of them is an
    owner of its own, and all of them use one session."""
    import json

    completed = subprocess.run(
        [sys.executable, "-c", PRELOADED, json.dumps(site.settings())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    session = site.client().session("user-1")
    symbols = session.symbols()
    for who in "xyz":
        own = [symbol for symbol in symbols if symbol.startswith(who)]
        assert own == [f"{who}{number:02}" for number in range(20)]
    assert len(symbols) == 60
    assert session.facts.takeovers == 0
