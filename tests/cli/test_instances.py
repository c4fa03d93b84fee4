"""`kato-consul instances`: the instances as a client sees them."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from kato_consul import Discovery, Settings, Snapshot
from kato_consul.cli.commands.instances import describe_source
from kato_consul.testing import ConsulAgent
from tests.cli.running import (
    ENDS_WITHIN,
    HTTP,
    HealthServer,
    agent_env,
    fresh_name,
    healths,
    kato_consul,
    line_with,
    started,
    without_waiting,
)
from tests.cli.terminal import Terminal
from tests.testing.waiting import eventually

FIELDS = {
    "id": str,
    "address": str,
    "scheme": str,
    "path": str,
    "port": int,
    "health": str,
    "used": bool,
    "zone": str,
    "node": str,
    "datacenter": str,
    "tags": list,
    "meta": dict,
    "weight": int,
    "output": str,
    "address_error": str,
}


PORTS: dict[str, int] = {}


@pytest.fixture(scope="module")
def two(agent: ConsulAgent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with one healthy instance and one that is not."""
    service = fresh_name()
    with HealthServer() as healthy, HealthServer(healthy=False) as unhealthy:
        PORTS[service] = healthy.port
        path = tmp_path_factory.mktemp("two") / "kato.toml"
        path.write_text(
            healthy.table(service, 1, more='tags = ["blue"]\n') + unhealthy.table(service, 2)
        )
        assert (
            kato_consul("register", "-f", path, "--wait", "0", env=agent_env(agent)).returncode == 0
        )
        wanted = {f"{service}-1": "passing", f"{service}-2": "critical"}
        assert eventually(lambda: healths(agent, service) == wanted)
        yield service


def test_json(agent: ConsulAgent, two: str) -> None:
    """One line of JSON: each field of each instance, and which of them a client uses."""
    done = kato_consul("instances", "--service", two, "--json", env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["service"] == two
    assert (found["source"], type(found["age"])) == ("consul", float)
    assert [{name: type(one[name]) for name in one} for one in found["instances"]] == [FIELDS] * 2
    first, second = found["instances"]
    assert (first["id"], first["port"], first["tags"]) == (f"{two}-1", PORTS[two], ["blue"])
    assert (first["health"], first["used"]) == ("passing", True)
    assert (second["health"], second["used"]) == ("critical", False)


def test_output_to_a_pipe(agent: ConsulAgent, two: str) -> None:
    """For grep: one line for each instance, however long, and no colours."""
    env = {**agent_env(agent), "KATO_CONSUL_SERVICE": two}
    head, first, second, summary = kato_consul("instances", env=env).stdout.splitlines()
    assert head.split()[:4] == ["id", "address", "health", "used"]
    assert first.split()[:4] == [f"{two}-1", f"127.0.0.1:{PORTS[two]}", "passing", "yes"]
    assert "critical  no" in second
    assert f"Service '{two}' check" in second
    assert summary == f"{two}: 2 instances: 1 passing, 1 critical, reported by Consul just now"


def test_output_to_a_terminal(agent: ConsulAgent, two: str) -> None:
    """For people: in colour, folded to the width of the terminal."""
    with Terminal("instances", "--service", two, env=agent_env(agent)) as terminal:
        assert terminal.wait() == 0
    assert "\x1b[32mpassing" in terminal.shown
    assert all(len(line) <= 80 for line in terminal.lines)


def test_no_color(agent: ConsulAgent, two: str) -> None:
    """NO_COLOR is respected."""
    env = {**agent_env(agent), "NO_COLOR": "1"}
    with Terminal("instances", "--service", two, env=env) as terminal:
        assert terminal.wait() == 0
    assert "passing" in terminal.shown
    assert "\x1b[3" not in terminal.shown


ODD: dict[str, dict[str, object]] = {
    "scheme": {"Address": "http://127.0.0.1", "Port": 8000},
    "port-in-it": {"Address": "127.0.0.1:18081", "Port": 8000},
    "dots": {"Address": "a..b", "Port": 8000},
    "blank": {"Address": "my host", "Port": 8000},
    "label": {"Address": "a" * 64, "Port": 8000},
    "nul": {"Address": "127.0.0.1\0", "Port": 8000},
    "escape": {"Address": "\x1b[2J", "Port": 8000},
    "port-0": {"Address": "127.0.0.1"},
    "port-70000": {"Address": "127.0.0.1", "Port": 70_000},
    "port-minus-1": {"Address": "127.0.0.1", "Port": -1},
}
"""Addresses that Consul accepts and no request can be sent to, by the id."""


@pytest.fixture
def odd(agent: ConsulAgent, service: str) -> Iterator[str]:
    """A service with all of them and one usable instance, whose id, tag and output have escape
    sequences and a line break."""
    good = "good\x1b]0;owned\x07\n[red]"
    with HealthServer() as kato:
        check = {"TTL": "1h", "Status": "warning", "CheckID": f"odd-{service}"}
        more = {"Address": "127.0.0.1", "Port": kato.port, "Tags": ["\x1b[31mred"], "Check": check}
        for service_id, given in {**ODD, good: more}.items():
            body = {"ID": service_id, "Name": service, **given}
            HTTP.put(f"{agent.url}/v1/agent/service/register", json=body).raise_for_status()
        HTTP.put(
            f"{agent.url}/v1/agent/check/update/odd-{service}",
            json={"Status": "warning", "Output": "\x1b[2J\u202e" + "x" * 3_000},
        ).raise_for_status()
        yield service
        for service_id in (*ODD, good):
            HTTP.put(f"{agent.url}/v1/agent/service/deregister/{quote(service_id, safe='')}")


def test_odd_instances(agent: ConsulAgent, odd: str) -> None:
    """An address that cannot be used is shown with the reason by `instances`, `watch` and `doctor`;
    no control character reaches the terminal, and a long output is cut."""
    env = {**agent_env(agent), "KATO_CONSUL_SERVICE": odd}
    done = kato_consul("instances", env=env)
    assert done.returncode == 0, done.stderr
    assert_printable(done.stdout)
    lines = done.stdout.splitlines()
    assert lines[-1].startswith(f"{odd}: 11 instances: 10 passing, 1 warning, 10 with an unusable")
    rows = {line.split()[0]: line for line in lines[1:-1]}
    for service_id in ODD:
        assert " no " in rows[service_id]
        assert "which is not" in rows[service_id]
    (usable,) = (row for row in rows.values() if row.startswith("good\\x1b]0;owned\\x07\\n[red]"))
    assert " yes " in usable
    assert len(usable) < 500

    with started("watch", env=env) as process:
        shown = [line_with(process, f"  {service_id}: ") for service_id in sorted(ODD)[:3]]
        assert all("never used: its address is" in line for line in shown)
        assert_printable(line_with(process, "  good"))

    done = kato_consul("doctor", env=env)
    assert_printable(done.stdout)
    for service_id in ODD:
        assert f"error: {service_id}: clients cannot use it: its " in done.stdout
    found = json.loads(kato_consul("instances", "--json", env=env).stdout)["instances"]
    assert {one["id"] for one in found if one["address_error"]} == set(ODD)
    assert [one["used"] for one in found].count(True) == 1


def assert_printable(text: str) -> None:
    """Fail if the text has a control character other than line breaks."""
    assert all(line.isprintable() for line in text.split("\n"))


def test_unknown_service(agent: ConsulAgent, two: str) -> None:
    """A service that Consul does not know: the known ones are named; exit 5."""
    done = kato_consul("instances", "--service", "unknown", env=agent_env(agent))
    assert done.returncode == 5
    assert "has no service 'unknown'" in done.stderr
    assert two in done.stderr
    assert "--service" in done.stderr


def test_closed_stdout(agent: ConsulAgent, two: str) -> None:
    """A closed output pipe ends it quietly, as any program."""
    with started("instances", "--service", two, env=agent_env(agent)) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(ENDS_WITHIN) == 1
    assert without_waiting(errors) == ""


def test_consul_is_unreachable(agent: ConsulAgent, two: str, tmp_path: Path) -> None:
    """While Consul is unreachable the saved snapshot is shown, as clients use it, and named as the
    source; the error is on stderr."""
    env = {**agent_env(agent), "KATO_CONSUL_STATE_DIR": str(tmp_path)}
    with Discovery(Settings(consul_addr=agent.http_addr, service=two, state_dir=tmp_path)):
        assert eventually(lambda: bool(list(tmp_path.iterdir())))
    env["CONSUL_HTTP_ADDR"] = "127.0.0.1:1"
    done = kato_consul("instances", "--service", two, env=env)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith(" (saved snapshot)")
    warning = "warning: no answer from Consul at http://127.0.0.1:1: "
    assert without_waiting(done.stderr).startswith(warning)
    found = json.loads(kato_consul("instances", "--service", two, "--json", env=env).stdout)
    assert (found["source"], len(found["instances"])) == ("disk", 2)


def test_static_list_without_consul() -> None:
    """With KATO_URL and no Consul, that list is shown and named as the source."""
    done = kato_consul("instances", env={"KATO_URL": "http://kato:8000"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout.splitlines()[-1]
        == "kato: 1 instance: 1 passing, from the static list in KATO_URL"
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0.2, "just now"),
        (1.0, "1 s ago"),
        (119.0, "119 s ago"),
        (150.0, "2 min ago"),
        (7_200.0, "2 hours ago"),
        (300_000.0, "3 days ago"),
    ],
)
def test_age(age: float, expected: str) -> None:
    """An age is given in a unit that fits it."""
    assert describe_source(Snapshot("kato", ()), age) == f"reported by Consul {expected}"


def test_invalid_setting() -> None:
    """An invalid variable is named, with valid values; exit 2."""
    done = kato_consul("instances", env={"CONSUL_HTTP_SSL": "maybe"})
    assert done.returncode == 2
    assert done.stderr == "error: CONSUL_HTTP_SSL must be true or false, not 'maybe'\n"


def test_errors_go_to_stderr(agent: ConsulAgent) -> None:
    """Standard output has nothing but results."""
    done = kato_consul("instances", "--service", "unknown", "--json", env=agent_env(agent))
    assert done.stdout == ""
