"""Definitions in Consul's own JSON, with tables inside tables, and with references."""

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
    """What is read from a file with this text."""
    (folder / name).write_text(text, encoding="utf-8")
    return read_definitions(folder / name)


def mistakes(folder: Path, text: str, name: str = "kato.toml") -> list[str]:
    """What is wrong with it, without the file's name."""
    with pytest.raises(DefinitionError) as caught:
        read(folder, text, name)
    return [one.removeprefix(f"{folder / name}: ") for one in caught.value.mistakes]


KATO = '[[service]]\nname = "kato"\nport = 8000\n'


def test_everything(tmp_path: Path) -> None:
    """All that a definition may hold can be written."""
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


def test_which_health(tmp_path: Path) -> None:
    """With neither probe nor check it is the probe; a check alone stands alone; or both."""
    assert read(tmp_path, KATO)[0].probe == ProbeDefinition()
    assert read(tmp_path, KATO + 'check = { interval = "1s" }')[0].probe is None
    both = read(tmp_path, KATO + 'probe = "kato"\ncheck = { interval = "1s" }')[0]
    assert both.probe == ProbeDefinition()
    assert both.plain_checks == (
        CheckDefinition(http="http://localhost:8000/health", interval="1s"),
    )


CONSULS = {
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
    "document", [CONSULS, {"service": CONSULS}, {"services": [CONSULS]}], ids=["api", "one", "many"]
)
def test_consuls_own(tmp_path: Path, document: dict[str, object]) -> None:
    """Consul's JSON is taken as the agent takes it: names in any case, any of its three forms."""
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
    ("document", "said"),
    [
        ([], "must be an object"),
        ({"servise": {}}, "servise is not known: did you mean service?"),
        ({"name": "kato", "port": 1, "check": {"ttl": "10s"}}, "a TTL check has to be fed"),
        ({"services": {"name": "kato", "port": 1}}, "services must be a list"),
        ({"service": 1}, "service 1 must be an object, not 1"),
        ({"name": "kato", "port": 1, "enable_tag_override": True}, "tags stay as they are defined"),
        ({"name": "kato", "port": 1, "token": "x"}, "give tokens with CONSUL_HTTP_TOKEN_FILE"),
        ({"name": "kato", "port": 1, "connect": {"native": True}}, "sidecars and proxies are"),
    ],
)
def test_what_is_not_taken(tmp_path: Path, document: object, said: str) -> None:
    """What Consul knows and we do not take is told with the way to go."""
    (mistake,) = mistakes(tmp_path, json.dumps(document), "kato.json")
    assert said in mistake


def test_as_people_have_it(tmp_path: Path) -> None:
    """What such files say beside that, and says nothing, is passed over; a first status and a body
    are taken."""
    check = {"http": "http://10.0.0.5/", "status": "passing", "method": "POST", "body": "{}"}
    document = {
        **CONSULS,
        "EnableTagOverride": False,
        "SocketPath": "",
        "Connect": {"Native": False},
        "Meta": None,
        "Check": {**check, "TTL": "", "Args": None},
    }
    (one,) = read(tmp_path, json.dumps(document), "kato.json")
    (made,) = one.plain_checks
    assert (made.status, made.method, made.body) == ("passing", "POST", "{}")


def test_every_mistake_of_one_answer(tmp_path: Path) -> None:
    """A rule over several fields, and an id that is used twice, are told beside all others."""
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
    often = "'often' is no duration: write it like 10s, 1m30s or 500ms"
    assert mistakes(tmp_path, text) == [
        "services is not known: did you mean service?",
        "service 1 (same): port is missing",
        f"service 1 (same): check: interval: {often}",
        "service 1 (same): check: give http or tcp, not both",
        "service 2 (same): probe: interval: must be longer than nothing",
        "service 2 (same): probe: agree: 1 must be a majority of the last 3",
        "service 2 (same): zone: meta has another zone",
        "the id 'same' is used 2 times",
    ]


def test_no_secret_is_told(tmp_path: Path) -> None:
    """Neither what a file holds nor what stands in a header is in any mistake; and what Consul
    itself would show does not take a file's content."""
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


def test_no_json(tmp_path: Path) -> None:
    """A file that ends in .json is JSON."""
    assert mistakes(tmp_path, KATO, "kato.json")[0].startswith("is no JSON")


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment and files stand where they are named, numbers among them."""
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("HOST_IP", "10.0.0.5")
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.delenv("NOBODY", raising=False)
    text = f"""
[[service]]
name = "${{NOBODY:-kato}}"
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
    ("value", "said"),
    [
        ("${NOBODY}", "${NOBODY}: NOBODY is not set in the environment"),
        ("${}", "write ${NAME}, ${NAME:-word} or ${file:/path}"),
        ("${file:/nowhere}", "${file:/nowhere}: cannot be read: No such file"),
    ],
)
def test_bad_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    """One that leads nowhere is told with its place."""
    monkeypatch.delenv("NOBODY", raising=False)
    (mistake,) = mistakes(tmp_path, KATO + f'address = "{value}"')
    assert mistake.startswith("service 1 (kato): address: ")
    assert said in mistake


def test_a_files_content_is_not_told(tmp_path: Path) -> None:
    """A mistake in what a file holds does not show what it holds."""
    (tmp_path / "secret").write_text("s3cret/path")
    (mistake,) = mistakes(tmp_path, KATO + f'address = "${{file:{tmp_path}/secret}}"')
    assert "s3cret" not in mistake
    assert "stands for cannot be used here" in mistake


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("probe = 1", "probe must be a table, not 1"),
        ('probe = "redis"', "probe: 'redis' is not known: write probe = \"kato\", or a table"),
        ("probe = { agree = 1, of = 3 }", "agree: 1 must be a majority of the last 3"),
        ("probe = { agree = 0 }", "agree: 0 must be above 0"),
        ("checks = 1", "checks must be a list of tables, not 1"),
        ("checks = [1]", "checks 1 must be a table, not 1"),
        ("weights = { passing = 0 }", "weights: passing: 0 is no weight: a number from 1 to"),
        ("weights = { warning = -1 }", "weights: warning: -1 is no weight"),
        ('check = { status = "good" }', "check: status: 'good' is no status"),
        ('tagged_addresses = { wan = { address = "" } }', "wan: address: must not be empty"),
        ('meta = { "bad key" = "x" }', "meta: 'bad key' is no key that Consul takes"),
        ('zone = "a"\nmeta = { zone = "b" }', "zone: meta has another zone"),
    ],
)
def test_mistakes_inside(tmp_path: Path, line: str, said: str) -> None:
    """Mistakes in what is nested are told as all others are."""
    (mistake,) = mistakes(tmp_path, KATO + line)
    assert said in mistake
