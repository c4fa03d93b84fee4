"""Soak test: many sessions for a long time, under all faults.

    python -m tests.faults.soak --seconds 60 --sessions 40 [--sync] [--seed N]

Three instances behind proxies. Any request may be cut, get a gateway's response or hang; instances
are also killed and restarted, stopped and resumed. At the end all faults are removed, each session
makes one more call, and the checker compares the results of the calls with the events in KATO. The
exit status is 0 only with 0 failed, 0 lost, 0 twice, 0 unknown.
"""

import argparse
import asyncio
import random
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from kato_consul import AsyncKatoClient, AsyncSession, KatoClient, Session, Settings
from kato_consul.testing import Fleet
from kato_consul.testing.fault_plan import Fault, Plan, any_request, at_random
from kato_consul.testing.history import Final, History, HistoryReport, check, read_session
from tests.faults.cells import ATTEMPT_TIMEOUT
from tests.faults.site import Site, registered

LIFE = 300
"""Observations of a session; then a new one takes its place. KATO keeps 1,000."""
RATE = 0.04
"""Fraction of the requests with a fault."""
PROGRESS = 5.0
"""Seconds between two lines."""
PAUSE = 0.02
"""Maximum seconds that a session waits before its next call."""

SHORT_FAULTS = [one for one in Fault if not one.name.startswith("HANG")]
HANGING_FAULTS = [Fault.HANG, Fault.HANG_APPLIED]


@dataclass
class Soak:
    """One soak: its random numbers, its history, and all its sessions."""

    seed: int
    seconds: float
    sessions: int
    history: History = field(default_factory=History)
    created: dict[str, Session | AsyncSession] = field(default_factory=dict)
    finals: dict[str, Final | None] = field(default_factory=dict)
    disturbances: dict[str, int] = field(default_factory=lambda: {"killed": 0, "stopped": 0})
    until: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def rng(self, part: str) -> random.Random:
        """Return the random numbers of one part, the same for the same seed."""
        return random.Random(f"{self.seed} {part}")

    def plan(self, proxy: str) -> Plan:
        """Return the plan of a proxy. Nine in ten faults are short; the rest hang."""
        rng = self.rng(proxy)
        return at_random(
            RATE,
            *SHORT_FAULTS * 9,
            *HANGING_FAULTS * len(SHORT_FAULTS),
            rng=rng,
            matching=any_request,
        )

    def goes_on(self) -> bool:
        """Return whether there is time left."""
        return time.monotonic() < self.until

    def sum_of(self, name: str) -> int:
        """Return the sum of one figure over the facts of all sessions."""
        return sum(getattr(one.facts, name) for one in tuple(self.created.values()))

    def disturb(self, site: Site) -> None:
        """Kill or stop one instance at a time until the end; all instances run afterwards."""
        rng = self.rng("disturbances")
        instances = list(site.instances.values())
        for one in instances:
            one.switch(slow=0.01)
        while not self.over.wait(rng.uniform(0.5, 2.0)):
            victim = rng.choice(instances)
            if rng.random() < 0.5:
                victim.kill()
                self.disturbances["killed"] += 1
                self.over.wait(rng.uniform(0.0, 2.0))
                victim.start()
            else:
                victim.freeze()
                self.disturbances["stopped"] += 1
                self.over.wait(rng.uniform(0.5, 4.0))
                victim.thaw()

    def print_progress(self) -> None:
        """Print a line of progress every `PROGRESS` seconds."""
        started, before = time.monotonic(), 0
        while not self.over.wait(PROGRESS):
            so_far = self.history.acknowledged
            print_line(
                f"{time.monotonic() - started:5.0f} s  {so_far:7,} observed "
                f"({(so_far - before) / PROGRESS:.0f}/s)  {self.sum_of('failovers'):5,} failovers  "
                f"{self.sum_of('settlements'):5,} settled  {self.sum_of('repairs'):4,} repaired  "
                f"{self.disturbances['killed']} killed, {self.disturbances['stopped']} stopped"
            )
            before = so_far


def print_line(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)  # noqa: T201


def sync_work(soak: Soak, settings: Settings, heal: "Heal") -> None:
    """Run each session in a thread of its own."""
    with KatoClient(settings) as kato:

        def run_session(number: int) -> None:
            rng = soak.rng(f"session {number}")
            for life in range(sys.maxsize):
                session = kato.session(f"session {number}.{life}")
                soak.created[session.key] = session
                for position in range(LIFE):
                    if not soak.goes_on():
                        return
                    time.sleep(rng.uniform(0.0, PAUSE))
                    event = [f"{session.key} event {position:03}"]
                    with soak.history.call(session.key, event):
                        session.observe(event)

        with ThreadPoolExecutor(soak.sessions) as pool:
            list(pool.map(run_session, range(soak.sessions)))
        heal()
        for session in soak.created.values():
            assert isinstance(session, Session)
            with soak.history.call(session.key, ["the last"]):
                session.observe(["the last"])


def async_work(soak: Soak, settings: Settings, heal: "Heal") -> None:
    """Run each session in a task of its own."""

    async def work() -> None:
        async with AsyncKatoClient(settings) as kato:

            async def run_session(number: int) -> None:
                rng = soak.rng(f"session {number}")
                for life in range(sys.maxsize):
                    session = kato.session(f"session {number}.{life}")
                    soak.created[session.key] = session
                    for position in range(LIFE):
                        if not soak.goes_on():
                            return
                        await asyncio.sleep(rng.uniform(0.0, PAUSE))
                        event = [f"{session.key} event {position:03}"]
                        with soak.history.call(session.key, event):
                            await session.observe(event)

            await asyncio.gather(*(run_session(number) for number in range(soak.sessions)))
            await asyncio.to_thread(heal)
            for session in soak.created.values():
                assert isinstance(session, AsyncSession)
                with soak.history.call(session.key, ["the last"]):
                    await session.observe(["the last"])

    asyncio.run(work())


class Heal:
    """Ends the disturbances; afterwards there are no faults and no requests in flight."""

    def __init__(self, soak: Soak, site: Site) -> None:
        self._soak, self._site = soak, site
        self._threads = [
            threading.Thread(target=soak.disturb, args=[site], name="disturbances"),
            threading.Thread(target=soak.print_progress, name="progress"),
        ]
        for thread in self._threads:
            thread.start()

    def __call__(self) -> None:
        self._soak.over.set()
        for thread in self._threads:
            thread.join()
        self._site.heal()
        ids = [one.id for one in self._soak.created.values() if one.id is not None]
        for instance in self._site.instances.values():
            self._site.wait_for_late_writes(ids, instance)


def soak_for(soak: Soak, *, sync: bool) -> HistoryReport:
    """Run a soak and return the checker's report."""
    with ExitStack() as opened:
        fleet = opened.enter_context(Fleet(on_progress=print_line))
        site = opened.enter_context(registered(fleet, "soak", proxied=True))
        for service_id, proxy in site.proxies.items():
            proxy.plan, proxy.hang_for = soak.plan(service_id), ATTEMPT_TIMEOUT * 1.5
        settings = replace(site.settings, attempt_timeout=ATTEMPT_TIMEOUT)
        soak.until = time.monotonic() + soak.seconds
        heal = Heal(soak, site)
        try:
            (sync_work if sync else async_work)(soak, settings, heal)
        finally:
            heal()
        for key, session in soak.created.items():
            soak.finals[key] = read_session(site.url, session.id)
        injected = sum(
            (proxy.counts for proxy in site.proxies.values()), start=type(proxy.counts)()
        )
        print_line(
            "faults: " + ", ".join(f"{n} × {fault}" for fault, n in sorted(injected.items()))
        )
    return check(soak.history, soak.finals)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--sync", action="store_true", help="threads instead of tasks")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print_line(f"seed {seed}")
    soak = Soak(seed, options.seconds, options.sessions)
    report = soak_for(soak, sync=options.sync)
    worst = soak.history.worst
    print_line(str(report))
    print_line(
        f"{soak.history.acknowledged / options.seconds:.0f} observations a second, "
        f"{soak.sum_of('failovers'):,} failovers, {soak.sum_of('settlements'):,} settled, "
        f"{soak.sum_of('repairs'):,} repaired, {soak.sum_of('reopened')} reopened; "
        f"{soak.disturbances['killed']} instances killed, {soak.disturbances['stopped']} stopped; "
        f"the worst call took {worst.seconds if worst else 0.0:.1f} s"
    )
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
