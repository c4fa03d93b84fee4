"""Secrets: no token, no password and no secret of a definition is in the output and the logs of a
registrar, with debug logs of all libraries."""

import base64
import json
import logging
import sys
from pathlib import Path

import pytest

from kato_consul import KatoConsulError, Registrar, Settings
from kato_consul._definitions.loader import read_definitions
from kato_consul.testing import StandInKato
from tests.cli.running import ENDS_WITHIN, fresh_name, kato_consul, line_with, started
from tests.security.conftest import AclAgent, policy

VERBOSE = """
import logging, sys
logging.basicConfig(level=0, stream=sys.stderr)
from kato_consul import Settings
Settings.__init__.__kwdefaults__["engine"] = "httpx"
from kato_consul.cli import main
main()
"""
"""The command line with all logs, on the engine that logs most: httpx with httpcore."""

PASSWORD = "pa55word-of-the-proxy"
SECRET = "s3cret-of-the-check"


def definition(kato: StandInKato, folder: Path) -> Path:
    """Write a definition file whose check has a secret from a file in a header."""
    (folder / "secret").write_text(SECRET + "\n")
    path = folder / "kato.toml"
    path.write_text(
        f"""
[[service]]
name = "{kato.name}"
id = "{kato.name}-1"
address = "{kato.host}"
port = {kato.port}
probe = {{ interval = "1s" }}
[service.check]
http = "{kato.url}/health"
interval = "1s"
header = {{ Authorization = ["Bearer ${{file:{folder}/secret}}"] }}
"""
    )
    return path


def test_no_secrets_in_command_output(acl_agent: AclAgent, tmp_path: Path) -> None:
    """The output of commands that succeed and fail, at debug level, has no secrets."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name(), keep_alive=60) as kato:
        token = acl_agent.token(policy("registrar", kato.name))
        reader = acl_agent.token(policy("client", kato.name))
        env = {
            "CONSUL_HTTP_ADDR": acl_agent.http_addr,
            "CONSUL_HTTP_TOKEN": token,
            "CONSUL_HTTP_AUTH": f"user:{PASSWORD}",
        }
        path = definition(kato, tmp_path)
        outputs: list[str] = []
        named = ["--service", kato.name]
        commands: list[tuple[list[str | Path], int, dict[str, str]]] = [
            (["register", "-f", path], 0, {}),
            (["register", "-f", path, "--json"], 0, {}),
            (["instances", *named], 0, {}),
            (["instances", *named, "--json"], 0, {}),
            (["doctor", *named, "--json"], 0, {"CONSUL_HTTP_TOKEN": reader}),
            (["drain", f"{kato.name}-1", "--wait", "0"], 7, {}),
            (["deregister", "--all", *named], 0, {}),
            (["register", "-f", path], 4, {"CONSUL_HTTP_TOKEN": reader}),
            (["register", "-f", path], 3, {"CONSUL_HTTP_ADDR": "127.0.0.1:1"}),
            (["register", "-f", path], 2, {"CONSUL_HTTP_ADDR": f"http://u:{PASSWORD}@consul"}),
        ]
        for command, code, changed in commands:
            more: list[str | Path] = ["--wait-consul", "100ms"] if code == 3 else []
            done = kato_consul(*command, *more, env=env | changed, program=VERBOSE)
            assert done.returncode == code, (command, done.stderr)
            outputs.append(done.stdout + done.stderr)
        with started("run", "-f", path, env=env, program=VERBOSE) as process:
            line_with(process, "all registered")
            process.terminate()
            outputs += process.communicate(timeout=ENDS_WITHIN)
            assert process.returncode == 0
        parent = ["exec", "-f", str(path), "--drain", "0", "--", sys.executable, "-c", "input()"]
        done = kato_consul(*parent, env=env, program=VERBOSE)
        assert done.returncode == 1  # input() fails: there is no input
        outputs.append(done.stdout + done.stderr)
    combined = "\n".join(outputs)
    assert "httpcore" in combined  # the logs were on
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for secret in (token, reader, acl_agent.root, PASSWORD, SECRET, basic):
        assert secret not in combined


def test_no_secrets_in_logs_and_reprs(
    acl_agent: AclAgent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's logs, objects and errors have no secrets."""
    caplog.set_level(logging.DEBUG)
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name()) as kato:
        token = acl_agent.token(policy("registrar", kato.name))
        reader = acl_agent.token(policy("client", kato.name))
        definitions = read_definitions(definition(kato, tmp_path))
        settings = Settings(consul_addr=acl_agent.http_addr, consul_token=token, engine="httpx")
        with Registrar(definitions, settings) as registrar:
            shown = [repr(settings), repr(definitions), repr(vars(registrar))]
        denied = Registrar(
            definitions, Settings(consul_addr=acl_agent.http_addr, consul_token=reader)
        )
        with pytest.raises(KatoConsulError) as caught, denied:
            pass
        shown += [repr(caught.value), str(caught.value), json.dumps(str(vars(caught.value)))]
    shown += [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    assert any(one.name.startswith("httpcore") for one in caplog.records)
    assert not any(secret in text for text in shown for secret in (token, reader, SECRET))
