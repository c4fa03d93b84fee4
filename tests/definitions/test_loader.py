"""Definitions in TOML: all mistakes are reported at once, each with its location."""

from pathlib import Path

import pytest

from kato_consul._definitions.loader import decode_definitions, read_definitions
from kato_consul._definitions.schema import CheckDefinition, ServiceDefinition
from kato_consul.errors import DefinitionError


def read(tmp_path: Path, text: str) -> list[ServiceDefinition]:
    """Read a file ``kato.toml`` with this text."""
    path = tmp_path / "kato.toml"
    path.write_text(text, encoding="utf-8")
    return read_definitions(path)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """Return the mistakes in such a file, without the file's path that each must begin with."""
    with pytest.raises(DefinitionError) as caught:
        read(tmp_path, text)
    prefix = f"{tmp_path / 'kato.toml'}: "
    assert all(mistake.startswith(prefix) for mistake in caught.value.mistakes)
    return [mistake.removeprefix(prefix) for mistake in caught.value.mistakes]


def test_several_services(tmp_path: Path) -> None:
    """Each [[service]] table is one instance, in the order of the file."""
    text = """
        [[service]]
        name = "kato"
        id = "kato-1"
        address = "2001:db8::5"
        port = 8001
        tags = ["a", "b"]
        meta = { version = "3.10.1" }

        [service.check]
        tcp = "[2001:db8::5]:8001"
        interval = "2s"
        timeout = "500ms"
        name = "alive"
        success_before_passing = 2
        failures_before_critical = 3
        deregister_critical_service_after = "1m"

        [[service]]
        name = "kato"
        port = 8002
    """
    assert read(tmp_path, text) == [
        ServiceDefinition(
            name="kato",
            id="kato-1",
            address="2001:db8::5",
            port=8001,
            tags=("a", "b"),
            meta={"version": "3.10.1"},
            check=CheckDefinition(
                tcp="[2001:db8::5]:8001",
                interval="2s",
                timeout="500ms",
                name="alive",
                success_before_passing=2,
                failures_before_critical=3,
                deregister_critical_service_after="1m",
            ),
        ),
        ServiceDefinition(name="kato", id="kato-8002", port=8002),
    ]


def test_single_table(tmp_path: Path) -> None:
    """A single instance may be written as [service]."""
    text = '[service]\nname = "kato"\nport = 8000\ncheck = { interval = "1s" }'
    assert read(tmp_path, text) == [
        ServiceDefinition(name="kato", port=8000, check=CheckDefinition(interval="1s"))
    ]


KATO = '[[service]]\nname = "kato"\nport = 8000\n'

TWO_INVALID_SERVICES = """
    [[service]]
    id = "k1"
    name = ""
    port = 0

    [[service]]
    port = 1
    nmae = "kato"

    [service.check]
    interval = "x"
    timeout = "y"
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["defines no service: write [[service]], with name and port"]),
        ("service = []", ["defines no service: write [[service]], with name and port"]),
        ("service = 1", ["service must be a table: write [[service]]"]),
        ('service = ["kato"]', ["service must be a table: write [[service]]"]),
        ("extra = 1\n" + KATO, ["extra is not known: known keys are service"]),
        ('[[service]]\nname = "kato"', ["service 1 (kato): port is missing"]),
        ("[[service]]", ["service 1: name is missing", "service 1: port is missing"]),
        (KATO + "prot = 1", ["service 1 (kato): prot is not known: did you mean port?"]),
        (
            KATO + "zzz = 1",
            ["service 1 (kato): zzz is not known: known keys are name, port, id, address, tags,"],
        ),
        (
            KATO + 'id = "k1"\naddress = "a/b"',
            ["service 1 (k1): address: 'a/b' is not a host name"],
        ),
        (
            KATO + 'check = { intervall = "1s" }',
            ["service 1 (kato): check: intervall is not known: did you mean interval?"],
        ),
        (
            KATO + 'check = { interval = "often" }',
            ["service 1 (kato): check: interval: 'often' is not a duration: write it like 10s"],
        ),
        (
            KATO + 'check = { http = "http://a/", tcp = "a:1" }',
            ["service 1 (kato): check: give http or tcp, not both"],
        ),
        (KATO + "check = 1", ["service 1 (kato): check must be a table, not 1"]),
        (KATO + KATO, ["the id 'kato-8000' is used 2 times"]),
        (KATO + 'id = "a"\n' + KATO + 'id = "a"\n' + KATO + 'id = "a"', ["the id 'a' is used 3"]),
        (
            TWO_INVALID_SERVICES,
            [
                "service 1 (k1): name: must not be empty",
                "service 1 (k1): port: 0 is not a port",
                "service 2: nmae is not known: did you mean name?",
                "service 2: name is missing",
                "service 2: check: interval: 'x' is not a duration",
                "service 2: check: timeout: 'y' is not a duration",
            ],
        ),
    ],
)
def test_all_mistakes_are_reported(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each mistake has its file, service and field, and says what to write instead."""
    found = mistakes(tmp_path, text)
    assert len(found) == len(expected), found
    for mistake, start in zip(found, expected, strict=True):
        assert mistake.startswith(start)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('port = "8000"', "port", "'8000'"),
        ("port = 8000.5", "port", "8000.5"),
        ("port = true", "port", "True"),
        ('port = 8000\ntags = "a"', "tags", "'a'"),
        ("port = 8000\ntags = [1]", "tags", "[1]"),
        ("port = 8000\nmeta = { version = 3 }", "meta", "{'version': 3}"),
        ("port = 8000\nid = 1", "id", "1"),
        ("port = 8000\ncheck = { interval = 10 }", "check: interval", "10"),
    ],
)
def test_wrong_type_is_reported(tmp_path: Path, line: str, field: str, value: str) -> None:
    """A value of another type is reported with its location; nothing is converted silently."""
    (mistake,) = mistakes(tmp_path, f'[[service]]\nname = "kato"\n{line}')
    assert mistake.startswith(f"service 1 (kato): {field}: ")
    assert mistake.endswith(f": it is {value}")


def test_invalid_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    """A file that is not TOML is reported with the line of the error."""
    (mistake,) = mistakes(tmp_path, "[[service]]\nname = kato")
    assert mistake.startswith("is not valid TOML: ")
    assert "line 2" in mistake


def test_file_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    """A file that is not UTF-8 is not valid TOML."""
    (tmp_path / "kato.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match=r"kato\.toml: is not valid TOML"):
        read_definitions(tmp_path / "kato.toml")


def test_missing_file_is_reported(tmp_path: Path) -> None:
    """The message has the file's path and the reason of the operating system."""
    with pytest.raises(DefinitionError, match=r"none\.toml: cannot be read: No such file"):
        read_definitions(tmp_path / "none.toml")


def test_empty_folder_is_reported(tmp_path: Path) -> None:
    """A folder without definition files is a mistake, and not a job that has nothing to do."""
    with pytest.raises(DefinitionError, match="cannot be read: Is a directory"):
        read_definitions(tmp_path)


@pytest.mark.parametrize(
    ("service", "location"),
    [
        ({"id": "k1", "name": "kato"}, "service 1 (k1)"),
        ({"id": "", "name": "kato"}, "service 1 (kato)"),
        ({"id": 1, "name": "kato"}, "service 1 (kato)"),
        ({"id": 1, "name": 2}, "service 1"),
        ({"name": ""}, "service 1"),
        ({}, "service 1"),
    ],
)
def test_service_location(service: dict[str, object], location: str) -> None:
    """A service is named by its id, by its name if the id is not text, or by its number alone."""
    with pytest.raises(DefinitionError) as caught:
        decode_definitions({"service": service}, "flags")
    assert f"flags: {location}: port is missing" in caught.value.mistakes


def test_location_is_given_by_the_caller() -> None:
    """Mistakes begin with the location that the caller passed."""
    with pytest.raises(DefinitionError, match=r"flags: service 1 \(kato\): port is missing"):
        decode_definitions({"service": {"name": "kato"}}, "flags")
