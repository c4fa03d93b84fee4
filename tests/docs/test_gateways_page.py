"""docs/gateways.md: what it lists and its commands have are the variables and options that there
are."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from kato_consul import Settings
from kato_consul.cli.app import app
from kato_consul.gateways import GATEWAYS, GatewayOptions, GatewayPool, GatewayServer
from kato_consul.gateways.files import template_values
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "gateways.md").read_text("utf-8")
COMMAND = typer.main.get_command(app).commands["gateway"]  # type: ignore[attr-defined]


def table_after(title: str) -> str:
    """Return the first table after a heading."""
    section = PAGE.partition(f"## {title}\n")[2]
    return section.partition("\n| --- |")[2].partition("\n\n")[0]


def test_variables_of_templates() -> None:
    """Each has a row, and each row is a variable."""
    table = table_after("Templates of your own")
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    values = template_values(GatewayOptions(), Settings(trust_env=False), Path("x"))
    assert set(rows) == {*values, "pool"}
    assert set(re.findall(r"`pool\.(\w+)`", table)) == {one.name for one in fields(GatewayPool)} - {
        "service"
    }
    assert set(re.findall(r"`listen\.(\w+)`", table)) == {"host", "port", "netloc"}
    tls = next(line for line in table.splitlines() if line.startswith("| `tls`"))
    assert set(re.findall(r"`([a-z_]+)`", tls)) - {"tls"} == set(values["tls"])


def test_fields_of_servers() -> None:
    """The sentence below the table has all of them."""
    sentence = PAGE.partition("A server has ")[2].partition(", which is Consul's")[0]
    assert re.findall(r"`(\w+)`", sentence) == [one.name for one in fields(GatewayServer)]


def test_options_of_the_command() -> None:
    """Each that is not one of all commands has a row."""
    options = {name for one in COMMAND.params for name in one.opts if name.startswith("--")}
    listed = set(re.findall(r"`(--[\w-]+)[^`]*`", table_after("The command")))
    assert listed >= options - {"--service", "--consul", "--help"}
    assert listed <= options


LINES = re.findall(
    r"^(?:\$ |ExecStart=/usr/local/bin/)kato-consul gateway (.+)$",
    PAGE.replace("\\\n", " "),
    re.MULTILINE,
)


@pytest.mark.parametrize("line", LINES)
def test_commands_are_accepted(line: str) -> None:
    """Also those that write below /etc, which are not run."""
    with COMMAND.make_context("gateway", shlex.split(line)) as context:
        assert context.params["kind"] in GATEWAYS
        assert context.params["out"] is not None


def test_each_gateway_has_a_command() -> None:
    """And nginx has a service, too."""
    assert {line.split()[0] for line in LINES} == set(GATEWAYS)
    assert "ExecStart=/usr/local/bin/kato-consul gateway nginx" in PAGE
