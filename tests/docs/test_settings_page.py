"""docs/settings.md and help(Settings): both are made from the texts below the fields."""

import pydoc
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from kato_consul import Settings
from kato_consul._field_docs import DocWithFields, FieldDoc, field_docs

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "generate_settings_page.py"


@dataclass
class Example:
    """A class with fields."""

    port: int | None = None
    """A port.
    Two lines."""
    meta: dict[str, str] = field(default_factory=dict)
    """Metadata."""
    without_text: int = 0


def test_fields_have_type_default_and_text() -> None:
    """A field without a text is left out."""
    assert field_docs(Example) == [
        FieldDoc("port", "int | None", "None", "", "A port.\nTwo lines."),
        FieldDoc("meta", "dict[str, str]", "dict()", "", "Metadata."),
    ]


def test_class_without_source_has_its_own_docstring() -> None:
    """In a frozen application there is no source."""
    doc = DocWithFields("What it is.")
    assert doc.__get__(None, type("Made", (), {})) == "What it is."


def test_every_setting_has_a_text_and_a_row() -> None:
    """None can be added without one."""
    names = [one.name for one in fields(Settings)]
    assert [doc.name for doc in field_docs(Settings)] == names
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == names


def test_help_shows_the_texts() -> None:
    """Each setting with its default and its variable."""
    text = pydoc.render_doc(Settings, renderer=pydoc.TextDoc())
    text = re.sub(".\b", "", text)  # headings are overstruck
    assert "deadline: float = 30.0" in text
    assert "Longest time of a call in seconds" in text
    assert "CONSUL_HTTP_TOKEN_FILE" in text


def test_page_is_current() -> None:
    """`make check` compares it, too."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_check_fails_on_another_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text that was changed in settings.py only is found."""
    from scripts import generate_settings_page

    monkeypatch.setattr(generate_settings_page, "PAGE", tmp_path / "settings.md")
    monkeypatch.setattr(sys, "argv", ["script", "--check"])
    assert generate_settings_page.main() == 1
    assert "make generate" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["script"])
    assert generate_settings_page.main() == 0
    (tmp_path / "settings.md").write_text("other")
    monkeypatch.setattr(sys, "argv", ["script", "--check"])
    assert generate_settings_page.main() == 1
