"""Latencies of the registrar, measured on a real agent and real processes, and not asserted.

python -m tests.faults.registrar_times --rounds 10
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kato_consul import ProbeDefinition, Registrar, ServiceDefinition, Settings
from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports
from tests.cli.running import agent_env, healths, ids, kato_consul, line_with, started

STEP = 0.002
"""Seconds between two checks: a measured time is too long by at most this."""

LONGEST = 60.0
"""Seconds after which a measurement is given up."""


def seconds_until(condition: Callable[[], bool]) -> float:
    """Return the seconds until the condition holds."""
    started_at = time.monotonic()
    while not condition():
        if time.monotonic() - started_at > LONGEST:
            raise TimeoutError(f"the condition did not hold within {LONGEST:g} s")
        time.sleep(STEP)
    return time.monotonic() - started_at


@contextmanager
def registered_instance(probe: ProbeDefinition) -> Iterator[tuple[ConsulAgent, StandInKato]]:
    """An agent, and an instance that a registrar keeps registered."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ConsulAgent() as agent,
        StandInKato(store=Path(folder) / "store.sqlite") as kato,
    ):
        definition = ServiceDefinition(
            name="kato", id="kato-1", address=kato.host, port=kato.port, probe=probe
        )
        with Registrar([definition], Settings(consul_addr=agent.http_addr)):
            yield agent, kato


def child_dies(agent: ConsulAgent, folder: Path) -> float:
    """`exec`: from the child's SIGKILL until the agent no longer has the instance."""
    port = free_ports(1)[0]
    flags = ["--name", "kato", "--id", "kato-1", "--address", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "kato_consul.testing.kato.serve", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--name", "kato", "--store", str(folder / "store.sqlite")]
    command += ["--switches", str(folder / "switches.json")]
    with started("exec", *flags, "--", *command, env=agent_env(agent)) as process:
        child = int(line_with(process, "as process").split()[-1])
        line_with(process, "kato-1: registered")
        os.kill(child, signal.SIGKILL)
        took = seconds_until(lambda: ids(agent, "kato") == set())
        process.wait(20)
    return took


def agent_returns() -> float:
    """`Registrar`: from a restarted agent's first leader until it has the instance, passing."""
    with registered_instance(ProbeDefinition()) as (agent, _):
        agent.restart()
        return seconds_until(lambda: healths(agent, "kato") == {"kato-1": "passing"})


def instance_dies() -> float:
    """`Registrar`: from an instance's SIGKILL until it is critical, probed every 5 s."""
    with registered_instance(ProbeDefinition()) as (agent, kato):
        time.sleep(time.monotonic() % 5)  # at a random time between two probes
        kato.kill()
        return seconds_until(lambda: healths(agent, "kato") == {"kato-1": "critical"})


def agent_hangs(seconds: float) -> float:
    """`Registrar`: an agent hangs for `seconds`; from its return until the instance is passing."""
    with registered_instance(ProbeDefinition()) as (agent, _):
        agent.freeze()
        time.sleep(seconds)
        agent.thaw()
        return seconds_until(lambda: healths(agent, "kato") == {"kato-1": "passing"})


def registrar_dies(agent: ConsulAgent, folder: Path) -> float:
    """`run`: from the registrar's SIGKILL until its check's TTL has expired, probed every 5 s."""
    with StandInKato(store=folder / "other.sqlite") as kato:
        flags = ["--name", "alone", "--id", "alone-1", "--address", kato.host]
        with started("run", *flags, "--port", str(kato.port), env=agent_env(agent)) as process:
            line_with(process, "all registered")
            process.kill()
            took = seconds_until(lambda: healths(agent, "alone") == {"alone-1": "critical"})
    kato_consul("deregister", "alone-1", env=agent_env(agent))
    return took


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, ConsulAgent() as agent:
        rows = {
            "exec: child killed until deregistered": [
                child_dies(agent, Path(folder)) for _ in range(rounds)
            ],
            "run: agent back until registered, passing": [agent_returns() for _ in range(rounds)],
            "run: instance killed until critical (5 s)": [instance_dies() for _ in range(rounds)],
            "run: registrar killed until critical (5 s)": [
                registrar_dies(agent, Path(folder)) for _ in range(rounds)
            ],
            "run: agent hung for a minute until passing": [agent_hangs(60.0)],
        }
    for name, times in rows.items():
        median, worst = statistics.median(times), max(times)
        sys.stdout.write(
            f"{name:45} median {median * 1000:7.0f} ms  worst {worst * 1000:7.0f} ms\n"
        )


if __name__ == "__main__":
    main()
