"""The demo's scenario: a fleet, a workload, a crash in the middle, and a report at the end."""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import httpx

from kato_consul import AsyncKatoClient
from kato_consul.cli.demo.report import DemoReport, verify
from kato_consul.cli.demo.view import show_progress
from kato_consul.cli.demo.workload import Workload
from kato_consul.cli.exit_codes import CommandFailed
from kato_consul.cli.local_fleet import local_fleet
from kato_consul.cli.output import print_status

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet

INSTANCES, SESSIONS = 3, 8
SECONDS = 12.0
KILL_AT, RESTART_AT = 3.0, 7.0
SLOW_BEFORE_KILL, SLOW_WRITE = 0.5, 5.0
"""From ``SLOW_BEFORE_KILL`` seconds before it is killed, the instance needs ``SLOW_WRITE`` seconds
for a write. It is killed when each of its sessions has a request in flight, and before a write can
finish. So the instance dies as an overloaded process does, with writes in flight."""

POLL_INTERVAL = 0.02
"""Seconds between two checks of what a busy machine may delay."""


@dataclass(frozen=True)
class DemoOutcome:
    """The workload after it ran, the report on it, and the id of the instance that was killed."""

    workload: Workload
    report: DemoReport
    killed: str

    def as_json(self) -> dict[str, object]:
        """Return the outcome as JSON data."""
        return {
            "passed": self.report.passed,
            **asdict(self.report),
            "sessions": SESSIONS,
            "instances": INSTANCES,
            "killed": self.killed,
            **asdict(self.workload.tally()),
            "answered": dict(sorted(self.workload.answered.items())),
        }


def run_scenario(*, quiet: bool) -> DemoOutcome:
    """Run the scenario, and show its progress on standard error; ``quiet``: as plain lines."""
    with local_fleet(INSTANCES) as fleet:
        _register(fleet)
        return asyncio.run(_run(fleet, quiet=quiet))


def _register(fleet: "Fleet") -> None:
    """Register the instances with ``kato-consul register``, as a startup job does."""
    path = fleet.definition_file()
    print_status(f"$ kato-consul register -f {path.name}")
    command = [sys.executable, "-m", "kato_consul", "register", "-f", str(path)]
    command += ["--consul", fleet.agent.http_addr]
    # Variables in the environment are for another agent than this one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
    done = subprocess.run(command, stdout=sys.stderr, env=env, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise CommandFailed("the instances could not be registered")


async def _run(fleet: "Fleet", *, quiet: bool) -> DemoOutcome:
    async with AsyncKatoClient(fleet.settings) as client:
        workload = Workload(client, SESSIONS)
        running = asyncio.create_task(_load_and_crash(fleet, workload))
        try:
            await show_progress(workload, running, SECONDS, quiet=quiet)
            killed = await running
        except RuntimeError as error:
            raise CommandFailed(str(error)) from error
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        print_status("reading everything back")
        reader = next(instance for instance in fleet.instances.values() if instance.running)
        try:
            report = await verify(workload.ledgers, workload.failed, reader.url)
        except httpx.HTTPError as error:
            raise CommandFailed(f"cannot read back from {reader.url}: {error}") from error
    return DemoOutcome(workload, report, killed)


async def _load_and_crash(fleet: "Fleet", workload: Workload) -> str:
    """Run the workload with a crash in the middle; return the id of the instance that crashed."""
    crash = asyncio.create_task(_crash_and_restart(fleet, workload))
    try:
        await workload.run_for(SECONDS)
        return await crash  # on a busy machine the instance may need longer than the workload
    finally:
        crash.cancel()
        await asyncio.gather(crash, return_exceptions=True)


async def _crash_and_restart(fleet: "Fleet", workload: Workload) -> str:
    """Kill the instance that has the most sessions, start it again, and return its id."""
    await asyncio.sleep(KILL_AT - SLOW_BEFORE_KILL)
    until = time.monotonic() + SECONDS
    while not (sessions := workload.sessions_by_instance()):
        if time.monotonic() > until:
            break
        await asyncio.sleep(POLL_INTERVAL)
    name = max(fleet.instances, key=lambda service_id: (sessions[service_id], service_id))
    instance = fleet.instances[name]
    instance.switch(slow=SLOW_WRITE)
    until = time.monotonic() + SLOW_WRITE / 2
    await asyncio.sleep(SLOW_BEFORE_KILL)
    while time.monotonic() < until:
        views = {view.instance.uid: view for view in await workload.client.instances()}
        if views[name].outstanding >= sessions[name]:
            break
        await asyncio.sleep(POLL_INTERVAL)
    instance.kill()
    workload.note(f"{name} killed with SIGKILL")
    instance.switch(slow=0.0)
    await asyncio.sleep(RESTART_AT - KILL_AT)
    await asyncio.to_thread(instance.start)
    workload.note(f"{name} started again")
    return name
