"""`register` with a changed definition: no status of the former one is believed."""

import fcntl
import os
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports
from tests.cli.running import (
    ENDS_WITHIN,
    HealthServer,
    agent_env,
    get_json,
    healths,
    ids,
    kato_consul,
    line_with,
    started,
)
from tests.testing.waiting import eventually


def passing_ports(agent: ConsulAgent, service: str) -> list[int]:
    """Return the ports of the instances that clients get."""
    found = get_json(agent, f"/v1/health/service/{service}?passing")
    return [one["Service"]["Port"] for one in found]


def flags(service: str, port: int, *more: str) -> list[str]:
    """Return the flags of the instance."""
    common = ["--name", service, "--id", f"{service}-1", "--address", "127.0.0.1"]
    return [*common, "--port", str(port), "--interval", "1s", *more]


@pytest.mark.parametrize("check", ["http", "tcp", "probe"])
def test_dead_port_is_never_passing(
    agent: ConsulAgent, service: str, check: str, tmp_path: Path
) -> None:
    """The same id with a port on which nothing listens is not passing; when the wait fails, the
    former definition is back, and passes again."""
    (dead,) = free_ports(1)
    with StandInKato(store=tmp_path / "store.sqlite", name=service) as kato:

        def checks(port: int) -> list[str]:
            http = ["--check-http", f"http://127.0.0.1:{port}/health"]
            return {"http": http, "tcp": ["--check-tcp", f"127.0.0.1:{port}"], "probe": []}[check]

        register = ["register", *flags(service, kato.port, *checks(kato.port))]
        assert kato_consul(*register, env=agent_env(agent)).returncode == 0
        assert passing_ports(agent, service) == [kato.port]
        changed = ["register", *flags(service, dead, *checks(dead))]
        done = kato_consul(*changed, "--wait", "0", env=agent_env(agent))
        assert done.returncode == 0
        assert passing_ports(agent, service) == []
        assert kato_consul(*register, env=agent_env(agent)).returncode == 0
        done = kato_consul(*changed, "--wait", "1s", env=agent_env(agent))
        assert done.returncode == 6
        assert f"put back as it was, with port {kato.port}" in done.stdout
        assert eventually(lambda: passing_ports(agent, service) == [kato.port])
        kato_consul("deregister", f"{service}-1", env=agent_env(agent))


def test_reloaded_file_with_a_dead_port(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """`run` with a file that changes: reported once, and critical until it was checked."""
    (dead,) = free_ports(1)
    path = tmp_path / "kato.toml"
    path.write_text(instance.table(service, 1))
    with started("run", "-f", path, env=agent_env(agent)) as process:
        assert "all registered: 1 passing;" in line_with(process, "all registered")
        path.write_text(path.read_text().replace(f"port = {instance.port}", f"port = {dead}"))
        assert "registration updated" in line_with(process, f"{service}-1:")
        assert dead in {one["Port"] for one in get_json(agent, "/v1/agent/services").values()}
        assert healths(agent, service) == {f"{service}-1": "critical"}
        process.terminate()
        output, _ = process.communicate(timeout=ENDS_WITHIN)
    assert f"{service}-1: registered" not in output


def test_two_registrars_of_one_id(
    agent: ConsulAgent, service: str, instance: HealthServer, tmp_path: Path
) -> None:
    """Both name the other's definition and its file; the last one to end deregisters."""
    paths = [tmp_path / name for name in ("one.toml", "other.toml")]
    with HealthServer() as second:
        for path, server in zip(paths, (instance, second), strict=True):
            path.write_text(server.table(service, 1))
        with (
            started("run", "--wait", "0", "-f", paths[0], env=agent_env(agent)) as one,
            started("run", "--wait", "0", "-f", paths[1], env=agent_env(agent)) as other,
        ):
            told = line_with(one, "registers it too, but otherwise")
            assert "other.toml" in told
            assert f"port {second.port} there, {instance.port} here" in told
            assert "one.toml" in line_with(other, "registers it too, but otherwise")
            one.terminate()
            output, _ = one.communicate(timeout=ENDS_WITHIN)
            assert "stays registered: another process on this machine keeps it" in output
            assert ids(agent, service) == {f"{service}-1"}
            other.terminate()
            assert other.wait(ENDS_WITHIN) == 0
    assert ids(agent, service) == set()


def test_output_that_is_not_read(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """A full pipe delays neither the probe nor the end: events that do not fit are lost."""
    with StandInKato(store=tmp_path / "store.sqlite", name=service) as kato:
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writing, False)
        os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
        with started(
            "run",
            *flags(service, kato.port),
            "--interval",
            "200ms",
            env=agent_env(agent),
            stdout=writing,
            stderr=writing,
        ) as process:
            os.close(writing)
            for _ in range(3):
                assert eventually(lambda: healths(agent, service) == {f"{service}-1": "passing"})
                kato.switch(store="down")
                assert eventually(lambda: healths(agent, service) == {f"{service}-1": "critical"})
                kato.switch(store="up")
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 0
        os.close(reading)
    assert ids(agent, service) == set()
