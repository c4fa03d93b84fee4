"""Which files are read, in which form, and what is wrong with them as files."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from kato_consul import DefinitionError, definition_files, read_definitions
from tests.cli.running import kato_consul

TOML = '[[service]]\nname = "web"\nport = 8080\n'
JSON = '{"service": {"name": "web", "port": 8080}}'
HCL = 'service {\n  name = "web"\n  port = 8080\n}\n'

OTHER = TOML.replace("8080", "8081")


def write(folder: Path, **texts: str) -> None:
    """Write files; ``web_toml`` is the file ``web.toml``."""
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")


def ids(*paths: Path | str) -> list[str]:
    """Return the ids of the definitions in these files."""
    return [one.id for one in read_definitions(*paths)]


def mistakes(*paths: Path | str) -> tuple[str, ...]:
    """Return the mistakes in these files."""
    with pytest.raises(DefinitionError) as caught:
        read_definitions(*paths)
    return caught.value.mistakes


def test_folder(tmp_path: Path) -> None:
    """A folder stands for its definition files, by name. Everything else in it is left alone."""
    write(
        tmp_path,
        b_toml=TOML.replace("web", "b"),
        a_json=JSON.replace("web", "a"),
        c_HCL=HCL.replace("web", "c"),
        notes_txt="no definition",
        _hidden_toml="no definition",
        old_toml_bak="no definition",
    )
    (tmp_path / "more.toml").mkdir()
    (tmp_path / "more.toml" / "d.toml").write_text("no definition")
    assert [path.name for path in definition_files(tmp_path)] == ["a.json", "b.toml", "c.HCL"]
    assert ids(tmp_path) == ["a", "b-8080", "c"]
    assert ids(tmp_path / "c.HCL", tmp_path / "a.json") == ["c", "a"]


def test_empty_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty name is not the current folder: most likely, a variable is not set."""
    write(tmp_path, a_toml='[[service]]\nname = "kato"\nport = 8000\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match="the name of a definition file is empty"):
        read_definitions("")
    assert len(read_definitions(".")) == 1


def test_links_in_a_folder(tmp_path: Path) -> None:
    """Links to files count, as Kubernetes mounts a ConfigMap; a broken one is a mistake."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "web.toml").write_text(TOML)
    (tmp_path / "web.toml").symlink_to("..data/web.toml")
    assert ids(tmp_path) == ["web-8080"]
    (tmp_path / "lost.toml").symlink_to("..data/lost.toml")
    (mistake,) = mistakes(tmp_path)
    assert mistake == f"{tmp_path / 'lost.toml'}: cannot be read: No such file or directory"


def test_mistakes_of_all_files_are_reported_together(tmp_path: Path) -> None:
    """Each mistake has the name of its file; a file that is no document hides no other."""
    write(tmp_path, a_toml="[[service]]\n", b_json="{", c_hcl="service {", d_toml=TOML)
    found = mistakes(tmp_path, tmp_path / "none.toml")
    assert [mistake.removeprefix(f"{tmp_path}/").partition(":")[0] for mistake in found] == [
        "a.toml",
        "a.toml",
        "b.json",
        "c.hcl",
        "none.toml",
    ]


def test_ids_in_several_files(tmp_path: Path) -> None:
    """One id in two files is a mistake, with both places."""
    write(tmp_path, a_toml=TOML, b_toml=OTHER + TOML)
    (mistake,) = mistakes(tmp_path)
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    assert mistake == (
        f"the id 'web-8080' is used 2 times: {a}: service 1 (web), {b}: service 2 (web)"
    )
    assert mistakes(a, a)[0].startswith(f"{a}: the id 'web-8080' is used 2 times")


def test_ids_of_checks_in_several_files(tmp_path: Path) -> None:
    """One id of a check in two files is a mistake, with both places."""
    check = 'check = { id = "alive", tcp = "127.0.0.1:1" }\n'
    write(tmp_path, a_toml=TOML + check, b_toml=OTHER + check)
    (mistake,) = mistakes(tmp_path)
    assert mistake.startswith("the check id 'alive' is used by ")
    assert f"{tmp_path / 'a.toml'}: service 1 (web)" in mistake
    assert f"{tmp_path / 'b.toml'}: service 1 (web)" in mistake


@pytest.mark.parametrize(
    ("text", "service_id"),
    [
        (TOML, "web-8080"),
        (f"# a comment\n\n{TOML}", "web-8080"),
        ('service = [{ name = "web", port = 8080 }]', "web-8080"),
        ('service = { name = "web", port = 8080 }', "web-8080"),
        (JSON, "web"),
        (f"\n  {JSON}", "web"),
        (HCL, "web"),
        (f"# a comment\n\n{HCL}", "web"),
        (f"// a comment\n{HCL}", "web"),
        (f"/* a\ncomment */ {HCL}", "web"),
        ('services = [{ name = "web", port = 8080 }]', "web"),
        ('service = {\n  name = "web"\n  port = 8080\n}', "web"),
        ('"service" { name = "web" port = 8080 }', "web"),
    ],
)
def test_form_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, service_id: str
) -> None:
    """Standard input, and a file whose name does not tell, may have any of the forms. The id of a
    service without one tells which it was: ``name-port`` in TOML, the name in Consul's."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert ids("-") == [service_id]
    assert ids("-") == [service_id]  # it can be read once: a later read has the same text
    (tmp_path / "web.conf").write_text(text)
    assert ids(tmp_path / "web.conf") == [service_id]


def test_standard_input_beside_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input counts as one more file; its mistakes are told by this name."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(JSON))
    write(tmp_path, web_toml=TOML)
    assert ids("-", tmp_path) == ["web", "web-8080"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("service {"))
    assert mistakes("-")[0].startswith("standard input: is not valid HCL: line 1: ")
    monkeypatch.setattr(sys, "stdin", None)
    assert mistakes("-")[0].startswith("standard input: defines no service")


@pytest.mark.parametrize("name", ["web.toml", "web.json", "web.hcl", "web.conf"])
def test_byte_order_mark(tmp_path: Path, name: str) -> None:
    """A byte order mark is a mistake in words, in each form and in each encoding."""
    path = tmp_path / name
    path.write_text(JSON, encoding="utf-8-sig")
    (mistake,) = mistakes(path)
    assert mistake == (f"{path}: begins with a byte order mark (BOM): save it as UTF-8 without one")
    path.write_text(JSON, encoding="utf-16")
    assert "UTF-16 with a byte order mark (BOM): save it as UTF-8" in mistakes(path)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"service": {"name": "a", "name": "b"}}', "'name' is given twice in one object"),
        ('{\n // why\n "service": {}}', "JSON has neither comments nor trailing commas"),
        ('{"service": {"tags": ["a",]}}', "JSON has neither comments nor trailing commas"),
        ('{"service": {"port": NaN}}', "NaN is not a number"),
        ('{"service": {"name": "\\ud800"}}', "surrogates not allowed"),
        ('{"service": {}} more', "Extra data"),
        (HCL, "it looks like HCL: then its name must end in .hcl"),
    ],
)
def test_json_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    """What is not JSON is reported as such, with the way to go."""
    write(tmp_path, web_json=text)
    (mistake,) = mistakes(tmp_path / "web.json")
    assert mistake.startswith(f"{tmp_path / 'web.json'}: is not valid JSON: ")
    assert expected in mistake


@pytest.mark.parametrize("name", ["web.toml", "web.json", "web.hcl"])
def test_deep_nesting(tmp_path: Path, name: str) -> None:
    """A document that is nested without measure is a mistake, and not a crash."""
    form = {"web.toml": "a = {}{}", "web.json": '{{"a": {}{}}}', "web.hcl": "a = {}{}"}[name]
    (tmp_path / name).write_text(form.format("[" * 50_000, "]" * 50_000))
    (mistake,) = mistakes(tmp_path / name)
    assert mistake == f"{tmp_path / name}: is nested too deeply"


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is reported with the reason."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert mistakes(tmp_path) == (f"{tmp_path}: cannot be read: Permission denied",)


def test_hcl_without_its_library(tmp_path: Path) -> None:
    """python-hcl2 is imported only for an HCL file. Without it the mistake says what to install."""
    write(tmp_path, a_toml=TOML, b_json=JSON, c_hcl=HCL)
    program = f"""
import sys
sys.modules["hcl2"] = sys.modules["lark"] = None
from kato_consul import DefinitionError, read_definitions
print([one.id for one in read_definitions({str(tmp_path / "a.toml")!r})])
print([one.id for one in read_definitions({str(tmp_path / "b.json")!r})])
try:
    read_definitions({str(tmp_path)!r})
except DefinitionError as error:
    print(*error.mistakes)
"""
    done = kato_consul(program=program)
    assert done.stdout.splitlines() == [
        "['web-8080']",
        "['web']",
        f"{tmp_path / 'c.hcl'}: HCL needs python-hcl2: pip install 'kato-consul[hcl]'",
    ], done.stderr


def test_references_in_consuls_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are text, since Consul takes them so; with ``expand`` they are replaced, as in TOML."""
    monkeypatch.setenv("TEAM", "shop")
    (tmp_path / "secret").write_text("s3cret\n")
    values = ["${TEAM}", "${1}", "$$", "${file:" + str(tmp_path / "secret") + "}"]
    service = {"name": "web", "port": 8080, "tags": values[:1] + values[2:]}
    (tmp_path / "web.json").write_text(json.dumps({"service": {**service, "tags": values}}))
    assert read_definitions(tmp_path / "web.json")[0].tags == tuple(values)
    (tmp_path / "web.json").write_text(json.dumps({"service": service}))
    (expanded,) = read_definitions(tmp_path / "web.json", expand=True)
    assert expanded.tags == ("shop", "$", "s3cret")
    (tmp_path / "web.hcl").write_text(HCL.replace("8080", '"${PORT:-8080}"'))
    assert [one.port for one in read_definitions(tmp_path / "web.hcl", expand=True)] == [8080]
