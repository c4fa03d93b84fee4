"""``demo``: the main job, end to end, with a crash in the middle and a verdict at the end."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from kato_consul._async.client import AsyncKatoClient
from kato_consul.cli.demo.report import DemoReport, verify
from kato_consul.cli.demo.view import in_words, show_progress, tell_progress
from kato_consul.cli.demo.workload import Work
from kato_consul.cli.exit_codes import CommandFailed, exit_on_error
from kato_consul.cli.local_fleet import local_fleet
from kato_consul.cli.options.common import Json
from kato_consul.cli.output import print_result, print_status
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet

INSTANCES, SESSIONS = 3, 8
SECONDS = 12.0
KILL_AT, RETURN_AT = 3.0, 7.0
LABOUR, SLOW = 0.5, 5.0
"""Before its end the victim takes ``SLOW`` seconds for a write, for ``LABOUR`` seconds: long enough
for each of its sessions to have one there, and too short for any to end. So it dies, as an
overloaded process does, with calls in its hands."""


def demo(json_: Json = False) -> None:
    """See the whole job done, with a crash in the middle.

    Starts a Consul agent and three stand-in KATO instances, registers them,
    and lets eight sessions observe, learn and predict while one instance is
    killed with SIGKILL and comes back. Then everything that was acknowledged
    is read back from KATO, past this client, and counted.

    Takes about 20 seconds; once longer when Consul has to be fetched.
    Exits with 1 unless 0 failed, 0 were lost and 0 were applied twice.

      kato-consul demo

      kato-consul demo --json 2> /dev/null
    """
    with exit_on_error():
        interrupt_on_signals()
        with local_fleet(INSTANCES) as fleet:
            _register(fleet)
            work, verdict, victim = asyncio.run(_work(fleet, quiet=json_))
        if json_:
            print_result(json.dumps(_as_json(work, verdict, victim)))
        else:
            Console(highlight=False).print(in_words(work, verdict, victim), end="", soft_wrap=True)
        if not verdict.good:
            raise SystemExit(1)


def _register(fleet: "Fleet") -> None:
    """The registrar as people run it: a startup job."""
    path = fleet.definition_file()
    print_status(f"$ kato-consul register -f {path.name}")
    command = [sys.executable, "-m", "kato_consul", "register", "-f", str(path)]
    command += ["--consul", fleet.agent.http_addr]
    # What the environment says is about another agent than this one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
    done = subprocess.run(command, stdout=sys.stderr, env=env, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise CommandFailed("the instances could not be registered")


async def _work(fleet: "Fleet", *, quiet: bool) -> tuple[Work, DemoReport, str]:
    console = Console(stderr=True, highlight=False)
    async with AsyncKatoClient(fleet.settings) as client:
        work = Work(client, SESSIONS)
        crash = asyncio.create_task(_crash_and_return(fleet, work))
        busy = asyncio.create_task(work.go_on_for(SECONDS))
        try:
            if quiet or not console.is_terminal:
                await tell_progress(work, busy)
            else:
                await show_progress(console, work, busy, SECONDS)
            await busy
            victim = await crash
        except RuntimeError as error:
            raise CommandFailed(str(error)) from error
        finally:
            for task in (busy, crash):
                task.cancel()
            await asyncio.gather(busy, crash, return_exceptions=True)
        print_status("reading everything back")
        witness = next(one for one in fleet.instances.values() if one.running)
        try:
            return work, await verify(work.told, work.failed, witness.url), victim
        except httpx.HTTPError as error:
            raise CommandFailed(
                f"nothing could be read back from {witness.url}: {error}"
            ) from error


async def _crash_and_return(fleet: "Fleet", work: Work) -> str:
    """Kill the instance that has the most sessions, and start it again; its id."""
    await asyncio.sleep(KILL_AT - LABOUR)
    name = max(fleet.instances, key=lambda one: (work.homes()[one], one))
    victim = fleet.instances[name]
    victim.switch(slow=SLOW)
    await asyncio.sleep(LABOUR)
    victim.kill()
    work.note(f"{name} killed with SIGKILL")
    victim.switch(slow=0.0)
    await asyncio.sleep(RETURN_AT - KILL_AT)
    await asyncio.to_thread(victim.start)
    work.note(f"{name} started again")
    return name


def _as_json(work: Work, verdict: DemoReport, victim: str) -> dict[str, object]:
    return {
        "good": verdict.good,
        **asdict(verdict),
        "sessions": SESSIONS,
        "instances": INSTANCES,
        "killed": victim,
        **asdict(work.tally()),
        "answered": dict(sorted(work.answered.items())),
    }
