"""Whatever a registrar prints and logs, every library under it at its most talkative: no token, no
password and no secret of a definition is in it."""

import base64
import json
import logging
import sys
from pathlib import Path

import pytest

from kato_consul import KatoConsulError, Registrar, Settings
from kato_consul._definitions.loader import read_definitions
from kato_consul.testing import StandInKato
from tests.cli.running import fresh_name, kato_consul, line_with, started
from tests.security.conftest import Guarded, policy

TALKATIVE = """
import logging, sys
logging.basicConfig(level=0, stream=sys.stderr)
from kato_consul import Settings
Settings.__init__.__kwdefaults__["engine"] = "httpx"
from kato_consul.cli import main
main()
"""
"""The command line with every log there is, on the engine that tells most: httpcore's."""

PASSWORD = "pa55word-of-the-proxy"
SECRET = "s3cret-of-the-check"


def definition(kato: StandInKato, folder: Path) -> Path:
    """A file whose check has a secret from a file in its header."""
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


def test_nothing_is_told(guarded: Guarded, tmp_path: Path) -> None:
    """Each command, good and bad, at debug level: neither tokens nor other secrets are in it."""
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name()) as kato:
        token = guarded.token(policy("registrar", kato.name))
        reader = guarded.token(policy("client", kato.name))
        env = {
            "CONSUL_HTTP_ADDR": guarded.http_addr,
            "CONSUL_HTTP_TOKEN": token,
            "CONSUL_HTTP_AUTH": f"user:{PASSWORD}",
        }
        path = definition(kato, tmp_path)
        said: list[str] = []
        named = ["--service", kato.name]
        commands: list[tuple[list[str | Path], int, dict[str, str]]] = [
            (["register", "-f", path], 0, {}),
            (["register", "-f", path, "--json"], 0, {}),
            (["instances", *named], 0, {}),
            (["instances", *named, "--json"], 0, {}),
            (["doctor", *named, "--json"], 8, {"CONSUL_HTTP_TOKEN": reader}),
            (["drain", f"{kato.name}-1", "--wait", "0"], 7, {}),
            (["deregister", "--all", *named], 0, {}),
            (["register", "-f", path], 4, {"CONSUL_HTTP_TOKEN": reader}),
            (["register", "-f", path], 3, {"CONSUL_HTTP_ADDR": "127.0.0.1:1"}),
            (["register", "-f", path], 2, {"CONSUL_HTTP_ADDR": f"http://u:{PASSWORD}@consul"}),
        ]
        for command, code, changed in commands:
            more: list[str | Path] = ["--wait-consul", "100ms"] if code == 3 else []
            done = kato_consul(*command, *more, env=env | changed, program=TALKATIVE)
            assert done.returncode == code, (command, done.stderr)
            said.append(done.stdout + done.stderr)
        with started("run", "-f", path, env=env, program=TALKATIVE) as process:
            line_with(process, "all registered")
            process.terminate()
            said += process.communicate(timeout=30)
            assert process.returncode == 0
        parent = ["exec", "-f", str(path), "--drain", "0", "--", sys.executable, "-c", "input()"]
        done = kato_consul(*parent, env=env, program=TALKATIVE)
        assert done.returncode == 1  # there is nothing to read
        said.append(done.stdout + done.stderr)
    whole = "\n".join(said)
    assert "httpcore" in whole  # it was talkative
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for secret in (token, reader, guarded.root, PASSWORD, SECRET, basic):
        assert secret not in whole


def test_nothing_is_logged(
    guarded: Guarded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same in code: neither in a log, nor in what objects and errors show of themselves."""
    caplog.set_level(logging.DEBUG)
    with StandInKato(store=tmp_path / "store.sqlite", name=fresh_name()) as kato:
        token = guarded.token(policy("registrar", kato.name))
        reader = guarded.token(policy("client", kato.name))
        definitions = read_definitions(definition(kato, tmp_path))
        settings = Settings(consul_addr=guarded.http_addr, consul_token=token, engine="httpx")
        with Registrar(definitions, settings) as registrar:
            shown = [repr(settings), repr(definitions), repr(vars(registrar))]
        denied = Registrar(
            definitions, Settings(consul_addr=guarded.http_addr, consul_token=reader)
        )
        with pytest.raises(KatoConsulError) as caught, denied:
            pass
        shown += [repr(caught.value), str(caught.value), json.dumps(str(vars(caught.value)))]
    shown += [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    assert any(one.name.startswith("httpcore") for one in caplog.records)
    assert not any(secret in text for text in shown for secret in (token, reader, SECRET))
