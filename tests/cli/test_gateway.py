"""`kato-consul gateway`: the command; what the gateways do with its files is in tests/gateways."""

import signal
from hashlib import sha256
from pathlib import Path

import pytest

from kato_consul.gateways import GATEWAYS
from kato_consul.testing import ConsulAgent
from tests.cli.running import ENDS_WITHIN, agent_env, kato_consul, line_with, started
from tests.discovery.agents import deregister, register, register_critical


@pytest.mark.parametrize("kind", GATEWAYS)
def test_show_template(kind: str, tmp_path: Path) -> None:
    """The template is printed as it is, so that it can be changed; Consul is not asked."""
    done = kato_consul("gateway", kind, "--show-template")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == GATEWAYS[kind].template_source()


def test_once(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """It writes, checks, reloads and ends; a second time it only checks."""
    register(agent, service, 1)
    out, log = tmp_path / "kato.conf", tmp_path / "log"
    arguments = (
        *("gateway", "nginx", "--service", service, "--once", "--out", out),
        *("--check", f"sh -c 'echo checked >> {log}'", "--reload", f"echo reloaded >> {log}"),
    )
    done = kato_consul(*arguments, env=agent_env(agent))
    assert (done.returncode, done.stdout) == (0, f"1 instance of {service}: written\n")
    assert "server 127.0.0.1:8001 weight=1" in out.read_text()
    assert log.read_text() == "checked\nreloaded\n"
    done = kato_consul(*arguments, env=agent_env(agent))
    assert (done.returncode, done.stdout) == (0, f"1 instance of {service}: unchanged\n")
    assert log.read_text() == "checked\nreloaded\nchecked\n"
    deregister(agent, service, 1)


def test_own_template_until_sigterm(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """Each change is written, and reported in one line. SIGTERM ends it with 0."""
    template = tmp_path / "mine.j2"
    template.write_text("{% for one in pool.servers %}{{ one.netloc }} {% endfor %}")
    out = tmp_path / "kato.cfg"
    register(agent, service, 1)
    arguments = ("--template", template, "--check", "none", "--out", out, "--service", service)
    with started("gateway", "haproxy", *arguments, env=agent_env(agent)) as process:
        line_with(process, f"1 instance of {service}: written")
        assert out.read_text() == "127.0.0.1:8001 "
        register(agent, service, 2)
        line_with(process, f"2 instances of {service}: written")
        assert out.read_text() == "127.0.0.1:8001 127.0.0.1:8002 "
        deregister(agent, service, 1)
        deregister(agent, service, 2)
        line_with(process, "none can be used, so the configuration stays as it is")
        assert out.read_text() != ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_to_proxies(agent: ConsulAgent, tmp_path: Path) -> None:
    """The service is that of the proxies, unless another one is named."""
    register(agent, "kato-proxy", 1)
    arguments = ("--once", "--check", "none", "--out", tmp_path / "kong.yml", "--to", "proxies")
    done = kato_consul("gateway", "kong", *arguments, env=agent_env(agent))
    assert (done.returncode, done.stdout) == (0, "1 instance of kato-proxy: written\n")
    deregister(agent, "kato-proxy", 1)


def test_to_proxies_without_any(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """The advice is how a proxy is started, and not an instance."""
    arguments = ("--once", "--out", tmp_path / "kong.yml", "--to", "proxies", "--service", service)
    done = kato_consul("gateway", "kong", *arguments, env=agent_env(agent))
    assert done.returncode == 5
    assert f"Register it with 'kato-consul proxy --register {service}'" in done.stderr


def test_once_checks_what_was_written_without_a_check(
    agent: ConsulAgent, service: str, tmp_path: Path
) -> None:
    """The text has not changed, and it is wrong all the same; the message names the file."""
    register(agent, service, 1)
    out = tmp_path / "kato.conf"
    arguments = ("gateway", "nginx", "--service", service, "--once", "--out", out)
    done = kato_consul(*arguments, "--check", "none", env=agent_env(agent))
    assert done.returncode == 0, done.stderr
    done = kato_consul(
        *arguments, "--check", "sh -c 'echo {file}:7 is wrong; exit 1'", env=agent_env(agent)
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"\n{out}:7 is wrong\n" in done.stderr
    deregister(agent, service, 1)


def test_failures_with_once(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """The reason and an exit code: no instance, a check that fails, no Consul."""
    out = tmp_path / "kato.conf"
    arguments = ("gateway", "nginx", "--once", "--out", out, "--service", service)
    done = kato_consul(*arguments, "--check", "none", env=agent_env(agent))
    assert done.returncode == 5
    assert f"Consul has no service {service!r}" in done.stderr
    register_critical(agent, service, 1)
    done = kato_consul(*arguments, "--check", "none", env=agent_env(agent))
    assert done.returncode == 1
    assert "1 instance: 1 critical; none can be used" in done.stderr
    deregister(agent, service, 1)
    register(agent, service, 1)
    failing = "sh -c 'echo nginx: [emerg] no such thing; exit 1'"
    done = kato_consul(*arguments, "--check", failing, env=agent_env(agent))
    assert done.returncode == 1
    assert "nginx: [emerg] no such thing\nthe file stays as it was" in done.stderr
    assert not out.exists()
    missing = tmp_path / "missing"
    done = kato_consul(*arguments, "--check", "none", "--out", missing / "f", env=agent_env(agent))
    assert done.returncode == 1
    assert f"{missing / 'f'} cannot be written: there is no folder {missing}\n" in done.stderr
    deregister(agent, service, 1)
    done = kato_consul(*arguments, "--check", "none", "--consul", "127.0.0.1:9")
    assert done.returncode == 3
    assert "no answer from Consul at" in done.stderr


def test_without_the_extra() -> None:
    """The message says what to install."""
    program = "import sys; sys.modules['jinja2'] = None; from kato_consul.cli import main; main()"
    done = kato_consul("gateway", "nginx", "--show-template", program=program)
    assert done.returncode == 2
    assert done.stderr == "error: gateways need jinja2: pip install 'kato-consul[gateway]'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["apache", "--out", "f"], "there is no gateway 'apache': use nginx, haproxy, envoy, kong"),
        (["nginx"], "--out is missing"),
        (["nginx", "--out", "f", "--listen", "8000"], "--listen '8000': write host:port"),
        (["nginx", "--out", "f", "--listen", "a:99999"], "a port is from 1 to 65535"),
        (["nginx", "--out", "f", "--listen", "a;b:80"], "--listen 'a;b:80': write host:port"),
        (["nginx", "--out", "f", "--to", "proxy"], "--to 'proxy': write instances or proxies"),
        (["nginx", "--out", "f", "--prefix", "kato"], "--prefix 'kato': write it like /kato"),
        (["nginx", "--out", "f", "--template", "missing.j2"], "--template missing.j2: "),
        (["haproxy", "--out", "f", "--api-keys", "missing"], "--api-keys missing: "),
        (["envoy", "--out", "f", "--rate-limit", "5"], "counts all callers together"),
    ],
)
def test_wrong_options(arguments: list[str], message: str) -> None:
    """One line, and exit code 2, before Consul is asked."""
    done = kato_consul("gateway", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no key"),
        ("# shop\n\nshop secret-key\n", "line 3: write NAME SHA256HEX"),
        (f"shop {'a' * 64} more\n", "line 1: write NAME SHA256HEX"),
    ],
)
def test_wrong_key_files(text: str, message: str, tmp_path: Path) -> None:
    """The message has no key: what is there may be one that was not hashed."""
    keys = tmp_path / "keys"
    keys.write_text(text)
    done = kato_consul("gateway", "haproxy", "--out", "f", "--api-keys", keys)
    assert done.returncode == 2
    assert message in done.stderr
    assert "secret-key" not in done.stderr


def test_key_file(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """The file that `kato-consul proxy --api-keys` reads, with comments; hashes in any case."""
    digest = sha256(b"the-key").hexdigest()
    keys, out = tmp_path / "keys", tmp_path / "kato.cfg"
    keys.write_text(f"# of applications\nshop {digest.upper()}  # the shop\n")
    register(agent, service, 1)
    done = kato_consul(
        *("gateway", "haproxy", "--once", "--check", "none", "--api-keys", keys, "--out", out),
        *("--service", service),
        env=agent_env(agent),
    )
    assert done.returncode == 0, done.stderr
    assert f"-m str {digest}" in out.read_text()
    deregister(agent, service, 1)
