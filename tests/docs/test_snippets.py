"""Every Python and console block of README and docs, run on a real fleet.

A block that cannot be run has a reason: a Python block in a comment just before it in the page
(``<!-- not run: … -->``), a command in the table below.
"""

import contextlib
import http.server
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.docs.pages import ROOT, with_our_programs

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENDS_WITHIN = 180.0

NOT_RUN = {
    "make": "a task of the checkout: demo and tests would run inside the tests",
    ".venv/bin/python -m benchmarks": "takes minutes; tests/performance checks what it prints",
    "pip install": "would change the environment of the tests",
    "uvicorn": "serves until it is ended: tests/examples/test_workers.py runs the same",
    "gunicorn": "serves until it is ended: tests/examples/test_workers.py runs the same",
    **dict.fromkeys(
        ("kato-consul gateway nginx --out /etc", "kato-consul gateway haproxy", "haproxy -W"),
        "needs a gateway that runs: tests/gateways has them",
    ),
    **dict.fromkeys(
        ("kato-consul gateway envoy", "envoy -c", "kato-consul gateway kong"),
        "needs a gateway that runs: tests/gateways has Envoy, and no Kong",
    ),
    **dict.fromkeys(
        ("kato-consul proxy", "curl -s localhost:8000"),
        "serves on port 8000 until it is ended: tests/cli/test_proxy.py runs the same",
    ),
    "ID=": "a variable of the reader's shell: tests/docs/test_proxy_manifests.py has its own",
    "kato-consul exec": "needs KATO itself: tests/cli/registrar/test_exec.py has its stand-in",
}
"""Beginnings of commands that are not run, each with the reason."""

ENDLESS = ("kato-consul watch", "kato-consul run", "kato-consul dev")
"""Commands that run until Ctrl-C: they are stopped after their first line of output."""


@dataclass(frozen=True)
class Block:
    """A block of a page: its place, its text, and why it is not run, or ""."""

    place: str
    text: str
    reason: str


def blocks(language: str) -> list[Block]:
    """Return all blocks in a language."""
    pattern = re.compile(
        rf"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?^```{language}\n(?P<text>.*?)^```$",
        re.DOTALL | re.MULTILINE,
    )
    found = []
    for page in PAGES:
        content = page.read_text("utf-8")
        for match in pattern.finditer(content):
            line = content.count("\n", 0, match.start("text"))
            reason = match["reason"] or ""
            found.append(Block(f"{page.name}:{line}", match["text"], reason))
    return found


def commands() -> list[tuple[str, str]]:
    """Return place and text of each command; lines that a backslash joins are one."""
    return [
        (block.place, command)
        for block in blocks("console")
        for command in re.findall(r"^\$ (.+)$", block.text.replace("\\\n", " "), re.MULTILINE)
    ]


def beginning(command: str, table: object) -> str | None:
    """Return the entry that a command begins with."""
    return next((one for one in table if command.startswith(one)), None)  # type: ignore[attr-defined]


class Orders(http.server.BaseHTTPRequestHandler):
    """The service ``orders`` of the pages."""

    def do_GET(self) -> None:
        """Return a list of orders."""
        body = json.dumps(["order-1"]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three registered instances of KATO, and a service ``orders``."""
    with Fleet(3, registered=True) as fleet:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), Orders)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with contextlib.closing(server.socket):
            httpx.put(
                f"{fleet.agent.url}/v1/agent/service/register",
                json={"Name": "orders", "Address": "127.0.0.1", "Port": server.server_port},
                trust_env=False,
            ).raise_for_status()
            yield fleet
            server.shutdown()


@pytest.fixture
def env(fleet: Fleet, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader, and the definition file that the pages name."""
    (tmp_path / "kato.toml").write_text(fleet.definition_file().read_text())
    path = f"{ROOT / 'src'}:{ROOT}"
    return with_our_programs({**fleet.environment, "PYTHONPATH": path})


def run(argv: list[str], env: dict[str, str], folder: Path) -> None:
    """Run a program to its end; it must succeed, without a warning of Python."""
    done = subprocess.run(
        argv,
        env={**env, "PYTHONWARNINGS": "error::ResourceWarning"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ResourceWarning" not in done.stderr, done.stderr


PYTHON = blocks("python")


@pytest.mark.parametrize(
    "block", [one for one in PYTHON if not one.reason], ids=lambda block: str(block.place)
)
def test_python_block_runs(block: Block, env: dict[str, str], tmp_path: Path) -> None:
    """As a program, or with pytest if it has tests."""
    if "def test_" in block.text:
        (tmp_path / "test_block.py").write_text(block.text)
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        plugin = "kato_consul._pytest_plugin"
        run([sys.executable, "-m", "pytest", "-q", "-p", plugin, str(tmp_path)], env, tmp_path)
        return
    (tmp_path / "block.py").write_text(block.text)
    runner = Path(__file__).with_name("run_snippet.py")
    run([sys.executable, str(runner), str(tmp_path / "block.py")], env, tmp_path)


COMMANDS = [(place, command) for place, command in commands() if not beginning(command, NOT_RUN)]


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=lambda value: str(value)[:50])
def test_command_runs(
    place: str, command: str, env: dict[str, str], fleet: Fleet, tmp_path: Path
) -> None:
    """With the address of an instance of the fleet; one that is endless ends on Ctrl-C."""
    kato = fleet.instances["kato-1"]
    localized = command.replace("10.0.0.5", kato.host).replace("--port 8000", f"--port {kato.port}")
    argv = ["bash", "-c", f"exec {localized}"]
    if not beginning(command, ENDLESS):
        run(argv, env, tmp_path)
        return
    with subprocess.Popen(
        argv, env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(ENDS_WITHIN) in (0, 130)
        finally:
            process.kill()


def test_what_is_not_run_has_a_reason_and_exists() -> None:
    """An entry that no command begins with any more is removed."""
    used = {beginning(command, NOT_RUN) for _, command in commands()} - {None}
    assert used <= set(NOT_RUN)
    assert all(len(reason) > 20 for reason in NOT_RUN.values())
    assert all(len(block.reason) > 10 for block in PYTHON if block.reason)
    assert {beginning(command, NOT_RUN) for _, command in commands()} >= set(NOT_RUN)


def test_commands_can_be_split() -> None:
    """A command that a shell cannot parse is a mistake of the page."""
    for _, command in commands():
        assert shlex.split(command, comments=True)


def test_pages_have_no_other_names_for_these_languages() -> None:
    """A block of ``bash`` or ``py`` would not be run."""
    for page in PAGES:
        names = set(re.findall(r"^```(\w+)$", page.read_text("utf-8"), re.MULTILINE))
        assert not names & {"bash", "sh", "shell", "py", "pycon", "Python"}, page
