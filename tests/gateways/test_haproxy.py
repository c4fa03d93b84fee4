"""HAProxy's own check of a configuration, as the command runs it."""

import os
import subprocess
from pathlib import Path

import pytest

from kato_consul.testing.gateways import HaproxyServer
from tests.cli.running import kato_consul


@pytest.fixture(scope="module")
def haproxy() -> Path:
    """HAProxy's program."""
    return HaproxyServer(Path(os.devnull), 1).binary


@pytest.fixture(scope="module")
def env(haproxy: Path) -> dict[str, str]:
    """The environment of a command that needs no Consul."""
    path = f"{haproxy.parent}:{os.environ['PATH']}"
    return {"KATO_URL": "http://127.0.0.1:8000", "PATH": path}


def test_a_rejected_file_has_its_reason(env: dict[str, str], tmp_path: Path) -> None:
    """With the line, of the file that was named."""
    template, out = tmp_path / "mine.j2", tmp_path / "kato.cfg"
    template.write_text("defaults\n    mode strange\n")
    arguments = ("--template", template, "--once", "--out", out)
    done = kato_consul("gateway", "haproxy", *arguments, env=env)
    assert done.returncode == 1
    assert f"{out}:2] : unknown proxy mode 'strange'" in done.stderr
    assert "kato-consul-gateway-" not in done.stderr


def test_the_built_in_template_has_no_warning(
    haproxy: Path, env: dict[str, str], tmp_path: Path
) -> None:
    """It needs no log address from another file."""
    out = tmp_path / "kato.cfg"
    done = kato_consul("gateway", "haproxy", "--once", "--out", out, env=env)
    assert done.returncode == 0, done.stderr
    check = [str(haproxy), "-c", "-f", str(out)]
    checked = subprocess.run(check, capture_output=True, text=True, timeout=60, check=True)
    assert "WARNING" not in checked.stderr
