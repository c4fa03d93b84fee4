"""`kato-consul proxy` and `kato-consul api-key`: options, messages and exit codes."""

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from kato_consul.testing import Fleet
from kato_consul.testing.ports import free_ports
from tests.cli.running import ENDS_WITHIN, HTTP, kato_consul, line_with, started

WITH_TEST_APPLICATION = """
import kato_consul.proxy
from tests.proxy.server.application import application
from kato_consul.cli import main
kato_consul.proxy.create_app = lambda settings: application()
main()
"""
"""A program with an application that needs no instances."""


def test_session_through_a_restart() -> None:
    """With instances, and without a change in the caller: what one proxy has observed, the next one
    continues."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    with Fleet(2, registered=True) as fleet, contextlib.ExitStack() as proxies:
        options = ["--listen", f"127.0.0.1:{port}", "--drain", "3s", "--workers", "2"]
        options += ["--consul", fleet.agent.http_addr]
        first = proxies.enter_context(started("proxy", *options))
        line_with(first, "serving")
        opened = HTTP.post(f"{url}/sessions", json={"node_id": "shop"}).raise_for_status()
        session = f"{url}/sessions/{opened.json()['session_id']}"
        for number in range(10):
            if number == 5:
                second = proxies.enter_context(started("proxy", "--replace", *options))
                line_with(second, "serving")
            HTTP.post(f"{session}/observe", json={"strings": [str(number)]}).raise_for_status()
        assert first.wait(ENDS_WITHIN) == 0
        stm = HTTP.get(f"{session}/stm").raise_for_status().json()["stm"]
        assert stm == [[str(number)] for number in range(10)]
        second.terminate()
        assert second.wait(ENDS_WITHIN) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal(number: int) -> None:
    """It prints where it serves, and ends with 0."""
    port, metrics = free_ports(2)
    options = ["--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}"]
    with started("proxy", *options, "--drain", "2s", program=WITH_TEST_APPLICATION) as process:
        assert line_with(process, "serving") == f"serving kato on http://127.0.0.1:{port}\n"
        assert HTTP.get(f"http://127.0.0.1:{port}/echo").json()["path"] == "/echo"
        assert "kato_proxy" in HTTP.get(f"http://127.0.0.1:{metrics}/metrics").text
        process.send_signal(number)
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0
    assert errors.splitlines() == [
        "sessions are shared in consul",
        f"metrics on http://127.0.0.1:{metrics}/metrics",
        "drained",
    ]


def test_second_proxy_on_a_port() -> None:
    """It is refused, or serves beside the first one, or in its place; and says which process it
    is."""
    options = ["--listen", f"127.0.0.1:{free_ports(1)[0]}", "--drain", "0"]
    with (
        started("proxy", *options, program=WITH_TEST_APPLICATION) as first,
        contextlib.ExitStack() as later,
    ):

        def start(option: str, said: str) -> subprocess.Popen[str]:
            argv = ("proxy", *options, option)
            process = later.enter_context(started(*argv, program=WITH_TEST_APPLICATION))
            line_with(process, "serving")
            line_with(process, said, stream=process.stderr)
            return process

        line_with(first, "serving")
        done = kato_consul("proxy", *options, program=WITH_TEST_APPLICATION)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"process {first.pid}: --replace takes its place" in done.stderr
        beside = start("--share-port", f"shares the port with process {first.pid}, which goes on")
        taken = f"took over from process {first.pid}, and sends it SIGTERM"
        instead = start("--replace", taken)
        assert first.wait(ENDS_WITHIN) == 0
        for process in (beside, instead):
            assert process.poll() is None
            process.terminate()
            assert process.wait(ENDS_WITHIN) == 0


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("none", "sessions are this process' own"),
        ("redis://:secret@127.0.0.1:1/0", "sessions are shared in Redis"),
    ],
)
def test_session_directory(directory: str, said: str) -> None:
    """A directory is named without its password."""
    options = ["--listen", f"127.0.0.1:{free_ports(1)[0]}", "--session-directory", directory]
    with started("proxy", *options, "--drain", "0", program=WITH_TEST_APPLICATION) as process:
        line_with(process, "serving")
        process.terminate()
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert errors.splitlines()[0] == said
    assert "secret" not in errors


def test_requests_that_were_cut(tmp_path: Path) -> None:
    """Exit code 7, as for an instance that is in use after the drain time."""
    port = free_ports(1)[0]
    options = ["--listen", f"127.0.0.1:{port}", "--drain", "100ms"]
    with (
        started("proxy", *options, program=WITH_TEST_APPLICATION) as process,
        socket.socket() as caller,
    ):
        line_with(process, "serving")
        caller.connect(("127.0.0.1", port))
        caller.sendall(f"GET /hold?{tmp_path}/held HTTP/1.1\r\n\r\n".encode())
        while not (tmp_path / "held.begun").exists():
            assert process.poll() is None
        process.terminate()
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 7
    assert errors.endswith("requests that were cut after 100ms: 1\n")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["--listen", "0.0.0.0:18000"], {}, "give --api-keys or --client-ca"),
        (["--max-body", "5x"], {}, "--max-body: '5x' is not a size: write it like 16MiB"),
        (["--drain", "5"], {}, "--drain: '5' is not a duration"),
        (["--api-keys", "/no/keys"], {}, "--api-keys /no/keys cannot be read"),
        (
            ["--listen", "127.0.0.1:18000"],
            {"KATO_URL": "http://localhost:18000"},
            "KATO_URL names this proxy itself",
        ),
        (["--register", "kato"], {}, "--register kato is the service"),
        (["--session-directory", "zookeeper"], {}, "session_directory"),
    ],
)
def test_refused(options: list[str], env: dict[str, str], message: str) -> None:
    """A mistake is an error with advice, and exit code 2."""
    free = ("--listen", f"127.0.0.1:{free_ports(1)[0]}")  # KATO may have the usual port
    done = kato_consul("proxy", *free, *options, env=env, program=WITH_TEST_APPLICATION)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


@pytest.mark.parametrize("size", ["1000", "1kB", "1 K"])
def test_size(size: str) -> None:
    """With or without a unit."""
    port = free_ports(1)[0]
    options = ["--listen", f"127.0.0.1:{port}", "--max-body", size, "--drain", "0"]
    with started("proxy", *options, program=WITH_TEST_APPLICATION) as process:
        line_with(process, "serving")
        for length, status in ((1000, 200), (1001, 413)):
            answer = HTTP.post(f"http://127.0.0.1:{port}/echo", content=b"a" * length)
            assert answer.status_code == status
        process.terminate()
        assert process.wait(ENDS_WITHIN) == 0


def test_api_key(tmp_path: Path) -> None:
    """The line is printed to standard output, and the key, once, to standard error."""
    made = kato_consul("api-key", "shop")
    assert made.returncode == 0
    assert made.stdout.startswith("shop ")
    key = made.stderr.removeprefix("the key of shop, shown once: ").strip()
    assert key not in made.stdout
    keys = tmp_path / "keys"
    keys.write_text(made.stdout)
    port = free_ports(1)[0]
    options = ["--listen", f"0.0.0.0:{port}", "--api-keys", str(keys), "--drain", "0"]
    with started("proxy", *options, program=WITH_TEST_APPLICATION) as process:
        line_with(process, "serving")
        url = f"http://127.0.0.1:{port}/echo"
        assert HTTP.get(url).status_code == 401
        assert HTTP.get(url, headers={"X-API-Key": key}).json()["caller"] == "shop"
        process.terminate()
        _, errors = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 0
    assert key not in errors


def test_name_of_an_api_key() -> None:
    """A name that cannot be in the file is refused."""
    done = kato_consul("api-key", "two words")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'two words' cannot name an API key" in done.stderr


@pytest.mark.parametrize("missing", ["uvicorn", "prometheus_client"])
def test_missing_extra(missing: str) -> None:
    """Without the extra ``proxy`` a message names what to install; exit 2."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from kato_consul.cli import main
main()
"""
    done = kato_consul("proxy", program=program)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the proxy needs {missing}: pip install 'kato-consul[proxy]'" in done.stderr
