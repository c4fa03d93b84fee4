"""The code blocks of the registrar's page and the README, run unchanged except for addresses.

They run on a real agent and a stand-in instance.
"""

import configparser
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from kato_consul._definitions.loader import decode_definitions, read_definitions
from kato_consul.testing import ConsulAgent, StandInKato
from kato_consul.testing.ports import free_ports
from tests.cli.running import ENDS_WITHIN, get_json, healths, ids, line_with
from tests.docs.pages import (
    PAGES,
    ROOT,
    blocks,
    command_line,
    documents,
    environment,
    jobs,
    units,
    with_our_programs,
)
from tests.testing.waiting import eventually

REGISTRAR = PAGES[1]
JOBS = jobs()


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    """A real agent."""
    with ConsulAgent() as running:
        yield running


@pytest.fixture
def kato(agent: ConsulAgent, tmp_path: Path) -> Iterator[StandInKato]:
    """A stand-in instance; its registrations are removed afterwards."""
    with StandInKato(store=tmp_path / "store.sqlite") as instance:
        yield instance
    for service_id in ids(agent, "kato"):
        httpx.put(f"{agent.url}/v1/agent/service/deregister/{service_id}", trust_env=False)


@pytest.fixture
def file(kato: StandInKato, tmp_path: Path) -> Path:
    """The definition file that the pages refer to."""
    path = tmp_path / "kato.toml"
    path.write_text(
        f'[[service]]\nname = "kato"\nid = "kato-1"\naddress = "{kato.host}"\nport = {kato.port}\n'
    )
    return path


def localized(text: str, agent: ConsulAgent, kato: StandInKato, file: Path) -> str:
    """Return the text with the addresses and paths of this test."""
    for documented, actual in (
        ("/usr/local/bin/kato-consul", str(Path(sys.executable).parent / "kato-consul")),
        ("/etc/kato-consul/kato.toml", str(file)),
        ("consul:8500", agent.http_addr),
        ("10.0.0.9:8500", agent.http_addr),
        ("--address kato-1", f"--address {kato.host}"),
        ("--port 8000", f"--port {kato.port}"),
    ):
        text = text.replace(documented, actual)
    return text


def run(argv: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        argv,
        env=with_our_programs(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )


@pytest.mark.parametrize(("name", "text"), units(), ids=lambda value: str(value)[:30])
def test_systemd_accepts_each_unit(name: str, text: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts a unit; without systemd its sections are checked."""
    text = text.replace("/usr/local/bin/kato-consul", "/bin/true")
    (tmp_path / name).write_text(text)
    for other in ("kato", "consul"):
        (tmp_path / f"{other}.service").write_text("[Service]\nExecStart=/bin/true\n")
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(text)
    assert {"Unit", "Service", "Install"} == set(parsed.sections())
    if shutil.which("systemd-analyze"):
        done = run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
            {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        )
        assert name not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr


def commands(text: str) -> dict[str, str]:
    """Return the commands of a unit by name."""
    lines = [line.partition("=") for line in text.splitlines() if line.startswith("Exec")]
    return {name: command for name, _, command in lines}


def test_oneshot_unit_registers_and_deregisters(
    agent: ConsulAgent, kato: StandInKato, file: Path
) -> None:
    """A oneshot unit's ExecStart registers and exits; its ExecStop deregisters."""
    oneshot = [text for _, text in units() if "Type=oneshot" in text]
    assert len(oneshot) == 2
    for text in oneshot:
        exec_lines = commands(localized(text, agent, kato, file))
        env = {"CONSUL_HTTP_ADDR": agent.http_addr}
        done = run(shlex.split(exec_lines["ExecStart"]), env)
        assert done.returncode == 0, done.stderr
        assert healths(agent, "kato") == {"kato-1": "passing"}
        assert run(shlex.split(exec_lines["ExecStop"]), env).returncode == 0
        assert ids(agent, "kato") == set()


def test_run_unit_stays_reloads_and_exits_with_0(
    agent: ConsulAgent, kato: StandInKato, file: Path
) -> None:
    """The unit of `run` keeps running, reloads its file on ExecReload, and exits with 0."""
    (text,) = (text for _, text in units() if "ExecReload" in text)
    exec_lines = commands(localized(text, agent, kato, file))
    env = with_our_programs({"CONSUL_HTTP_ADDR": agent.http_addr})
    command = shlex.split(exec_lines["ExecStart"])
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line_with(process, "all registered")
            reload = exec_lines["ExecReload"].replace("$MAINPID", str(process.pid))
            assert run(shlex.split(reload), {}).returncode == 0
            line_with(process, "instances in it:")
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 0
        finally:
            process.kill()
    assert ids(agent, "kato") == set()


def test_yaml_blocks_are_compose_files_pod_specs_or_jobs() -> None:
    """Each YAML block has the structure that its platform expects."""
    kinds = []
    for document in documents():
        if document.get("kind") in ("Deployment", "Service"):
            labels = document["spec"]["selector"]
            if document["kind"] == "Deployment":
                template = document["spec"]["template"]
                labels = labels["matchLabels"]
                assert template["metadata"]["labels"] == labels
                assert template["spec"]["containers"]
            assert labels == {"app": "kato-proxy"}
            kinds.append(document["kind"])
        elif document.get("kind") == "Job":
            spec = document["spec"]["template"]["spec"]
            assert document["apiVersion"] == "batch/v1"
            assert spec["restartPolicy"] in ("Never", "OnFailure")  # a Job accepts no other
            volumes = {volume["name"] for volume in spec["volumes"]}
            mounted = {
                mount["name"]
                for container in spec["containers"]
                for mount in container["volumeMounts"]
            }
            assert mounted == volumes
            kinds.append("Job")
        elif "spec" in document:
            assert {"initContainers", "containers"} >= set(document["spec"])
            kinds.append("pod")
        else:
            kinds.append("compose")
    assert sorted(kinds) == [
        *("Deployment", "Job", "Service"),
        *("compose", "compose", "compose"),
        *("pod", "pod", "pod"),
    ]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: " ".join(command_line(job))[:60])
def test_container_commands_register_the_instance(
    agent: ConsulAgent, kato: StandInKato, file: Path, job: dict[str, Any]
) -> None:
    """Each container's command registers the instance, with the variables its platform sets."""
    pod = {"metadata.name": "kato-1", "status.podIP": kato.host, "status.hostIP": "10.0.0.9"}
    env = {
        name: localized(value, agent, kato, file) for name, value in environment(job, pod).items()
    }
    argv = shlex.split(localized(shlex.join(command_line(job)), agent, kato, file))
    if not any("kato-consul run" in argument for argument in argv):
        done = run(argv, env)
        assert done.returncode == 0, done.stderr
        assert eventually(lambda: healths(agent, "kato") == {"kato-1": "passing"})
        return
    with subprocess.Popen(
        argv,
        env=with_our_programs(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line_with(process, "all registered")
            assert healths(agent, "kato") == {"kato-1": "passing"}
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 0
        finally:
            process.kill()
    assert ids(agent, "kato") == set()


def test_compose_registrar_registers_all_three(
    agent: ConsulAgent, kato: StandInKato, tmp_path: Path
) -> None:
    """The registrar of docker/compose.yaml registers all three, though no name resolves here."""
    text = (ROOT / "docker" / "compose.yaml").read_text()
    for variable, value in (
        ("KATO_CONSUL_HOST_IP:-127.0.0.1", kato.host),
        ("KATO_CONSUL_KATO_1_PORT:-8001", str(kato.port)),
        ("KATO_CONSUL_KATO_2_PORT:-8002", str(kato.port)),
        ("KATO_CONSUL_KATO_3_PORT:-8003", str(kato.port)),
    ):
        text = text.replace(f"${{{variable}}}", value)
    for number in (1, 2, 3):
        text = text.replace(f"http://kato-{number}:8000", kato.url)
    project = yaml.safe_load(text)
    job = project["services"]["registrar"]
    (config,) = job["configs"]
    file = tmp_path / "compose.toml"
    file.write_text(project["configs"][config["source"]]["content"])
    argv = shlex.split(job["command"].replace(config["target"], str(file)))
    done = run(argv, {"CONSUL_HTTP_ADDR": agent.http_addr})
    assert done.returncode == 0, done.stderr
    assert set(healths(agent, "kato").values()) == {"passing"}
    assert set(healths(agent, "kato")) == {"kato-1", "kato-2", "kato-3"}


def test_definition_blocks_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader accepts each definition of the pages, with all its fields."""
    monkeypatch.setenv("HOST_IP", "10.0.0.5")
    (tmp_path / "check").write_text("s3cret\n")
    for page in PAGES:
        for block in blocks(page, "toml"):
            text = block.replace("/run/secrets/check", str(tmp_path / "check"))
            (definition,) = decode_definitions(tomllib.loads(text), page.name)
            assert (definition.id, definition.address, definition.port) == (
                "kato-1",
                "10.0.0.5",
                8000,
            )


def test_hcl_blocks_are_valid(tmp_path: Path) -> None:
    """The loader accepts each definition in HCL."""
    for page in PAGES:
        for number, block in enumerate(blocks(page, "hcl")):
            file = tmp_path / f"{page.stem}-{number}.hcl"
            file.write_text(block)
            (definition,) = read_definitions(file)
            assert (definition.id, definition.port) == ("kato-1", 8000)
    assert list(tmp_path.iterdir())


def test_asgi_application_is_registered_while_it_serves(agent: ConsulAgent, tmp_path: Path) -> None:
    """Under uvicorn the page's application is registered and passing, and gone after SIGTERM."""
    (block,) = blocks(REGISTRAR, "python")
    (port,) = free_ports(1)
    text = block.replace("port=8000", f"port={port}").replace(
        "CheckDefinition()", 'CheckDefinition(interval="1s")'
    )
    assert text != block
    text += '\n\n@app.get("/health")\ndef health() -> str:\n    return "good"\n'
    (tmp_path / "orders.py").write_text(text)
    argv = [sys.executable, "-m", "uvicorn", "orders:app", "--port", str(port)]
    env = with_our_programs({"CONSUL_HTTP_ADDR": agent.http_addr})
    with subprocess.Popen(
        argv, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line_with(process, "Application startup complete", stream=process.stderr)
            assert eventually(lambda: set(healths(agent, "orders").values()) == {"passing"})
            assert get_json(agent, f"/v1/agent/service/orders-{port}")["Port"] == port
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=ENDS_WITHIN)
        finally:
            process.kill()
    assert ids(agent, "orders") == set()
