"""`kato-consul watch`: what a client sees, and each change, until Ctrl-C."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kato_consul.cli.commands.watch import differences
from kato_consul.models import Health, Instance, Snapshot
from kato_consul.testing import ConsulAgent
from tests.building import instance, snapshot
from tests.cli.running import ENDS_WITHIN, Process, agent_env, line_with, started
from tests.discovery.agents import deregister, register, register_critical


@pytest.fixture
def registered(agent: ConsulAgent, service: str) -> Iterator[str]:
    """A service with one instance."""
    register(agent, service, 1)
    yield service
    for number in (1, 2):
        deregister(agent, service, number)


def ended(process: Process, number: int) -> int:
    """The exit code after a signal."""
    process.send_signal(number)
    return process.wait(ENDS_WITHIN)


def test_output_as_text(agent: ConsulAgent, registered: str) -> None:
    """First all instances, then each change with a summary; Ctrl-C ends it with 130."""
    with started("watch", "--service", registered, env=agent_env(agent)) as process:
        first = line_with(process, f"{registered}-1: ")
        assert first.rstrip().endswith("at 127.0.0.1:8001, passing")
        assert "1 instance: 1 passing, reported by Consul just now" in line_with(
            process, f"{registered}: "
        )
        register_critical(agent, registered, 2)
        assert "at 127.0.0.1:8002, critical: " in line_with(process, f"{registered}-2: ")
        assert "2 instances: 1 passing, 1 critical" in line_with(process, f"{registered}: ")
        deregister(agent, registered, 2)
        assert line_with(process, f"{registered}-2: ").rstrip().endswith(": removed")
        assert ended(process, signal.SIGINT) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted\n"


def test_output_as_json(agent: ConsulAgent, registered: str) -> None:
    """With --json one line for each complete snapshot; SIGTERM ends it as Ctrl-C does."""
    with started("watch", "--service", registered, "--json", env=agent_env(agent)) as process:
        first = json.loads(line_with(process, registered))
        assert (first["service"], first["source"], len(first["instances"])) == (
            registered,
            "consul",
            1,
        )
        register(agent, registered, 2, Meta={"zone": "eu-1"})
        second = json.loads(line_with(process, registered))
        assert [one["zone"] for one in second["instances"]] == ["", "eu-1"]
        assert second["time"] >= first["time"]
        assert ended(process, signal.SIGTERM) == 130


def test_consul_outage() -> None:
    """An outage of Consul and its end are printed; the watch goes on."""
    with ConsulAgent() as agent:
        register(agent, "kato", 1)
        with started("watch", env=agent_env(agent)) as process:
            line_with(process, "1 passing")
            agent.kill()
            assert f"no answer from Consul at {agent.url}" in line_with(process, "consul: ")
            assert "clients keep using the instances reported by Consul" in line_with(
                process, "kato: "
            )
            agent.start()
            line_with(process, "consul: answers again")


def test_closed_stdout(agent: ConsulAgent, registered: str) -> None:
    """A closed output pipe ends it with the next change."""
    with started("watch", "--service", registered, env=agent_env(agent)) as process:
        line_with(process, "1 passing")
        assert process.stdout is not None
        process.stdout.close()
        register(agent, registered, 2)
        assert process.wait(ENDS_WITHIN) == 1


ONE = instance("kato-1")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"health": Health.MAINTENANCE, "output": "upgrade\n now"}, "maintenance: upgrade now"),
        ({"address": "10.0.0.9"}, "now at 10.0.0.9:8000"),
        ({"tags": ("a", "b"), "weight": 2}, 'tags ["a", "b"], weight 2'),
        ({"meta": {"zone": "eu-1"}}, 'meta {"zone": "eu-1"}'),
        ({"node": "n2"}, 'node "n2"'),
    ],
)
def test_changed_instance(change: dict[str, Any], expected: str) -> None:
    """Changes of an instance are described; unchanged instances are left out."""
    other = instance("kato-2")
    changed: Instance = replace(ONE, **change)
    assert list(differences(snapshot(ONE, other), snapshot(changed, other))) == [
        ("kato-1", expected)
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, snapshot(ONE), [("kato-1", "at kato-1.test:8000, passing")]),
        (snapshot(ONE), snapshot(), [("kato-1", "removed")]),
        (snapshot(ONE), snapshot(ONE), []),
        (None, snapshot(), []),
    ],
)
def test_added_and_removed_instances(
    before: Snapshot | None, after: Snapshot, expected: list[tuple[str, str]]
) -> None:
    """New and removed instances."""
    assert list(differences(before, after)) == expected
