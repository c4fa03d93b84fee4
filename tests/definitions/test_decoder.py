"""Definitions in Consul's own JSON, with nested tables, and with references."""

import json
from pathlib import Path

import pytest

from kato_consul._definitions.loader import read_definitions
from kato_consul._definitions.schema import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    TaggedAddress,
    Weights,
)
from kato_consul.errors import DefinitionError


def read(folder: Path, text: str, name: str = "kato.toml") -> list[ServiceDefinition]:
    """Read a file with this text."""
    (folder / name).write_text(text, encoding="utf-8")
    return read_definitions(folder / name)


def mistakes(folder: Path, text: str, name: str = "kato.toml") -> list[str]:
    """Return the mistakes in such a file, without the file's name."""
    with pytest.raises(DefinitionError) as caught:
        read(folder, text, name)
    return [mistake.removeprefix(f"{folder / name}: ") for mistake in caught.value.mistakes]


KATO = '[[service]]\nname = "kato"\nport = 8000\n'


def test_every_field_can_be_written(tmp_path: Path) -> None:
    """Nested tables and lists of checks are decoded."""
    text = (
        KATO
        + """
zone = "a"
weights = { passing = 10 }
tagged_addresses = { wan = { address = "192.0.2.1", port = 80 } }
probe = { interval = "2s", agree = 3, of = 4 }
[[service.checks]]
tcp = "10.0.0.5:8000"
[[service.checks]]
http = "http://10.0.0.5:8000/health"
header = { X-From = ["consul"] }
"""
    )
    (one,) = read(tmp_path, text)
    assert one.zone == "a"
    assert one.weights == Weights(passing=10)
    assert one.tagged_addresses == {"wan": TaggedAddress(address="192.0.2.1", port=80)}
    assert one.probe == ProbeDefinition(interval="2s", agree=3, of=4)
    assert [check.tcp or check.http for check in one.plain_checks] == [
        "10.0.0.5:8000",
        "http://10.0.0.5:8000/health",
    ]


def test_probe_is_the_default(tmp_path: Path) -> None:
    """Without probe and check there is a probe; with a check alone there is none."""
    assert read(tmp_path, KATO)[0].probe == ProbeDefinition()
    assert read(tmp_path, KATO + 'check = { interval = "1s" }')[0].probe is None
    both = read(tmp_path, KATO + 'probe = "kato"\ncheck = { interval = "1s" }')[0]
    assert both.probe == ProbeDefinition()
    assert both.plain_checks == (
        CheckDefinition(http="http://localhost:8000/health", interval="1s"),
    )


CONSUL_SERVICE = {
    "Name": "kato",
    "ID": "kato-1",
    "Address": "10.0.0.5",
    "Port": 8000,
    "Tags": ["a"],
    "Check": {
        "CheckID": "alive",
        "HTTP": "http://10.0.0.5:8000/health",
        "Interval": "10s",
        "DeregisterCriticalServiceAfter": "90m",
        "TLSSkipVerify": True,
    },
}


@pytest.mark.parametrize(
    "document",
    [CONSUL_SERVICE, {"service": CONSUL_SERVICE}, {"services": [CONSUL_SERVICE]}],
    ids=["api", "one", "many"],
)
def test_consul_json_is_accepted(tmp_path: Path, document: dict[str, object]) -> None:
    """Consul's JSON is accepted as by the agent: names in any case, in each of its three forms."""
    assert read(tmp_path, json.dumps(document), "kato.json") == [
        ServiceDefinition(
            name="kato",
            id="kato-1",
            address="10.0.0.5",
            port=8000,
            tags=("a",),
            check=CheckDefinition(
                id="alive",
                http="http://10.0.0.5:8000/health",
                deregister_critical_service_after="90m",
                tls_skip_verify=True,
            ),
        )
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "must be an object"),
        ({"servise": {}}, "servise is not known: did you mean service?"),
        ({"name": "kato", "port": 1, "check": {"args": ["x"]}}, "script checks are not supported"),
        ({"services": {"name": "kato", "port": 1}}, "services must be a list"),
        ({"service": 1}, "service 1 must be an object, not 1"),
        ({"name": "kato", "port": 1, "enable_tag_override": True}, "tags stay as they are defined"),
        ({"name": "kato", "port": 1, "token": "x"}, "set the token with CONSUL_HTTP_TOKEN_FILE"),
        (
            {"name": "kato", "port": 1, "connect": {"native": True}},
            "register sidecars and proxies with",
        ),
    ],
)
def test_unsupported_field_is_reported(tmp_path: Path, document: object, expected: str) -> None:
    """A field of Consul's that is not supported is reported with what to do instead."""
    (mistake,) = mistakes(tmp_path, json.dumps(document), "kato.json")
    assert expected in mistake


def test_empty_unsupported_fields_are_ignored(tmp_path: Path) -> None:
    """Unsupported fields with empty values are ignored; a first status and a body are accepted."""
    check = {"http": "http://10.0.0.5/", "status": "passing", "method": "POST", "body": "{}"}
    document = {
        **CONSUL_SERVICE,
        "EnableTagOverride": False,
        "SocketPath": "",
        "Connect": {"Native": False},
        "Meta": None,
        "Check": {**check, "TTL": "", "Args": None},
    }
    (one,) = read(tmp_path, json.dumps(document), "kato.json")
    (decoded,) = one.plain_checks
    assert (decoded.status, decoded.method, decoded.body) == ("passing", "POST", "{}")


def test_mistakes_of_every_kind_are_reported_together(tmp_path: Path) -> None:
    """Rules over several fields and duplicate ids are reported together with all other mistakes."""
    text = """
services = 1
[[service]]
name = "kato"
id = "same"
check = { http = "http://a/", tcp = "a:1", interval = "often" }
[[service]]
name = "kato"
id = "same"
port = 8000
zone = "a"
meta = { zone = "b" }
probe = { interval = "0s", agree = 1 }
"""
    often = "'often' is not a duration: write it like 10s, 1m30s or 500ms"
    assert mistakes(tmp_path, text) == [
        "services is not known: did you mean service?",
        "service 1 (same): port is missing",
        f"service 1 (same): check: interval: {often}",
        "service 1 (same): check: give http or tcp, not both",
        "service 2 (same): probe: interval: must be longer than 0s",
        "service 2 (same): probe: agree: 1 must be a majority of the last 3",
        "service 2 (same): zone: meta has a different zone",
        "the id 'same' is used 2 times",
    ]


def test_no_mistake_contains_a_secret(tmp_path: Path) -> None:
    """No mistake contains the content of a file or of a header. Fields that Consul itself shows
    reject the content of a file."""
    (tmp_path / "secret").write_text("s3cret")
    of_file = f"${{file:{tmp_path}/secret}}"
    text = f"""
[[service]]
name = "kato"
id = "{of_file}"
port = 1
zone = "{of_file}"
meta = {{ zone = "b" }}
check = {{ http = "http://a/?key={of_file}", header = "Bearer s3cret" }}
[[service]]
name = "kato"
id = "{of_file}"
port = "{of_file}"
"""
    found = mistakes(tmp_path, text)
    assert len(found) == 5
    assert "s3cret" not in "".join(found)
    assert "put it into header" in found[0]


def test_json_file_must_be_json(tmp_path: Path) -> None:
    """A file whose name ends in .json is parsed as JSON."""
    assert mistakes(tmp_path, KATO, "kato.json")[0].startswith("is not valid JSON")


def test_references_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """References to the environment and to files are replaced, also where a number is expected."""
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("HOST_IP", "10.0.0.5")
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.delenv("UNSET", raising=False)
    text = f"""
[[service]]
name = "${{UNSET:-kato}}"
port = "${{PORT}}"
address = "${{HOST_IP}}"
tags = ["a$$b", "plain $"]
meta = {{ at = "${{HOST_IP}}:${{PORT}}" }}
check = {{ header = {{ Authorization = ["Bearer ${{file:{tmp_path}/secret}}"] }} }}
"""
    (one,) = read(tmp_path, text)
    assert (one.name, one.port, one.address) == ("kato", 8123, "10.0.0.5")
    assert one.tags == ("a$b", "plain $")
    assert one.meta == {"at": "10.0.0.5:8123"}
    assert one.plain_checks[0].header == {"Authorization": ["Bearer s3cret"]}
    assert "s3cret" not in repr(one)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${UNSET}", "${UNSET}: UNSET is not set in the environment"),
        ("${}", "write ${NAME}, ${NAME:-word} or ${file:/path}"),
        ("${file:/nowhere}", "${file:/nowhere}: cannot be read: No such file"),
    ],
)
def test_invalid_reference_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    """A reference that cannot be replaced is reported with its location."""
    monkeypatch.delenv("UNSET", raising=False)
    (mistake,) = mistakes(tmp_path, KATO + f'address = "{value}"')
    assert mistake.startswith("service 1 (kato): address: ")
    assert expected in mistake


def test_mistake_does_not_contain_a_files_content(tmp_path: Path) -> None:
    """If the content of a file breaks a rule, the mistake names the reference instead."""
    (tmp_path / "secret").write_text("s3cret/path")
    (mistake,) = mistakes(tmp_path, KATO + f'address = "${{file:{tmp_path}/secret}}"')
    assert "s3cret" not in mistake
    assert "cannot be used here" in mistake


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("probe = 1", "probe must be a table, not 1"),
        ('probe = "redis"', "probe: 'redis' is not known: write probe = \"kato\", or a table"),
        ("probe = { agree = 1, of = 3 }", "agree: 1 must be a majority of the last 3"),
        ("probe = { agree = 0 }", "agree: 0 must be above 0"),
        ("checks = 1", "checks must be a list of tables, not 1"),
        ("checks = [1]", "checks 1 must be a table, not 1"),
        ("weights = { passing = 0 }", "weights: passing: 0 is not a weight: write a number from 1"),
        ("weights = { warning = -1 }", "weights: warning: -1 is not a weight"),
        ('check = { status = "good" }', "check: status: 'good' is not a status"),
        ('tagged_addresses = { wan = { address = "" } }', "wan: address: must not be empty"),
        ('meta = { "bad key" = "x" }', "meta: 'bad key' is not a key that Consul accepts"),
        ('zone = "a"\nmeta = { zone = "b" }', "zone: meta has a different zone"),
    ],
)
def test_mistakes_in_nested_tables(tmp_path: Path, line: str, expected: str) -> None:
    """Mistakes in nested tables are reported like all others."""
    (mistake,) = mistakes(tmp_path, KATO + line)
    assert expected in mistake
