"""What the pages show of the proxy: its containers serve and are ready, its requests succeed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.docs.pages import ROOT, blocks, command_line, environment, jobs, with_our_programs
from tests.proxy.served import ServedProxy, call

CONTAINERS = jobs(of_proxy=True)
KEY = "shop " + "0" * 64 + "\n"
WITHIN = 20.0


@pytest.fixture(scope="module")
def fleet() -> Any:
    """An instance behind Consul."""
    with Fleet(1, registered=True) as running:
        yield running


def test_readme_has_sidecars_and_a_gateway() -> None:
    """Both in compose or Kubernetes."""
    assert len(CONTAINERS) == 3


def compose_services() -> list[dict[str, Any]]:
    """Return the services of docker/proxy.compose.yaml that run the proxy."""
    project = yaml.safe_load((ROOT / "docker" / "proxy.compose.yaml").read_text())
    return [project["services"][name] for name in ("proxy-1", "proxy-2")]


@pytest.mark.parametrize(
    "container", [*CONTAINERS, *compose_services()], ids=lambda one: " ".join(command_line(one))
)
def test_container_serves(fleet: Fleet, container: dict[str, Any], tmp_path: Path) -> None:
    """A container's command serves the API, and is ready; on SIGTERM it ends with 0."""
    (tmp_path / "keys").write_text(KEY)
    port = free_ports(1)[0]
    line = shlex.join(command_line(container)) if "entrypoint" not in container else ""
    line = line or container["command"][0].replace("$$(hostname -i)", "127.0.0.1")
    line = line.replace("/etc/kato/keys", str(tmp_path / "keys")).removeprefix("exec ")
    if ":8000" in line:
        argv = shlex.split(line.replace("0.0.0.0:8000", f"127.0.0.1:{port}"))
        argv = [one.replace("127.0.0.1:8000", f"127.0.0.1:{port}") for one in argv]
    else:
        argv = [*shlex.split(line), "--listen", f"127.0.0.1:{port}"]
    given = container.get("env", [])
    env = environment({"env": given}, {"status.hostIP": "127.0.0.1"}) if given else {}
    with subprocess.Popen(
        argv,
        env=with_our_programs({**env, **fleet.environment}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + WITHIN
            while not is_ready(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.terminate()
            assert process.wait(WITHIN) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "proxy.md"])
def test_requests_of_the_pages(fleet: Fleet, page: Path) -> None:
    """Each ``curl`` succeeds, in the order of the page; ``$ID`` is the first one's session."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    lines = re.findall(r"^\$ (curl -s localhost:8000.+)$", text, re.MULTILINE)
    assert lines
    with ServedProxy(fleet.settings) as proxy:
        env = dict(os.environ)
        for line in lines:
            argv = ["bash", "-c", line.replace(":8000", f":{proxy.port}")]
            done = subprocess.run(argv, env=env, capture_output=True, timeout=WITHIN, check=True)
            answer = json.loads(done.stdout)
            assert "detail" not in answer, answer
            env.setdefault("ID", str(answer.get("session_id")))


@pytest.mark.parametrize(("language", "argv"), [("js", ["node"]), ("python", [sys.executable])])
def test_programs_of_the_page(fleet: Fleet, tmp_path: Path, language: str, argv: list[str]) -> None:
    """Each observes, with nothing but KATO_URL."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not on this machine")
    (block,) = blocks(ROOT / "docs" / "proxy.md", language)
    program = tmp_path / ("page.mjs" if language == "js" else "page.py")
    program.write_text(block)
    with ServedProxy(fleet.settings) as proxy:
        env = {**os.environ, "KATO_URL": f"http://127.0.0.1:{proxy.port}"}
        done = subprocess.run(
            [*argv, str(program)], env=env, capture_output=True, timeout=WITHIN, check=True
        )
    assert b"stm_length" in done.stdout


def is_ready(port: int) -> bool:
    """Return whether the proxy is ready."""
    try:
        return call(port, "GET", "/ready").status == 200
    except OSError:
        return False
