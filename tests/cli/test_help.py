"""Help that teaches, on any terminal; and what happens to who gets a word wrong."""

import re
import tomllib

import pytest

import kato_consul as package
from kato_consul._definitions.loader import decode_definitions
from kato_consul.cli.exit_codes import EXITS
from tests.cli.running import all_at_once, kato_consul

COMMANDS = [
    "register", "run", "exec", "drain", "deregister", "instances", "watch", "observe",
    "predictions", "doctor", "dev", "demo",
]  # fmt: skip


def test_help_of_each_command() -> None:
    """It fits on 80 columns, shows how to call it, and has no types where nothing is typed."""
    shown = all_at_once(*([command, "-h"] for command in COMMANDS))
    for command, done in zip(COMMANDS, shown, strict=True):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"\n   kato-consul {command}" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert not re.search(r"<\w", done.stdout)


def test_help_of_all() -> None:
    """The first page names every command and every exit code."""
    done = kato_consul("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"│ {command} " in done.stdout
    for code, meaning in EXITS.items():
        assert f"{code:>3}  {meaning}" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_register_teaches_the_file() -> None:
    """The file that help shows is one that the registrar takes."""
    shown = kato_consul("register", "--help").stdout
    found = re.search(r"^ +\[\[service\]\] .*?^ +probe = .*?$", shown, re.DOTALL | re.MULTILINE)
    assert found
    (one,) = decode_definitions(tomllib.loads(found[0]), "help")
    assert (one.id, one.port, one.tags, one.meta) == (
        "kato-1",
        8000,
        ("blue",),
        {"team": "search"},
    )


def test_without_a_word() -> None:
    """Called with nothing it shows its help; exit 2, since nothing was done."""
    done = kato_consul()
    assert done.returncode == 2
    assert "Usage: kato-consul" in done.stdout


def test_a_wrong_word() -> None:
    """An unknown command, option or value: exit 2, named on stderr, with the way to help."""
    wrong = {
        "No such command 'registre'": ["registre"],
        "No such option: --prot": ["register", "--prot", "8000"],
        "'--port'": ["register", "--port", "http"],
        "'--count'": ["dev", "--count", "0"],
        "(kato)": ["instances", "kato"],
    }
    for answer, done in zip(wrong, all_at_once(*wrong.values()), strict=True):
        assert (done.returncode, done.stdout) == (2, "")
        assert answer in done.stderr
        assert "Try 'kato-consul" in done.stderr


def test_version() -> None:
    """--version says which."""
    done = kato_consul("--version")
    assert (done.returncode, done.stdout) == (0, f"kato-consul {package.__version__}\n")


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_without_the_extra(missing: str) -> None:
    """Without the extra it says what to install; exit 2."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from kato_consul.cli import main
main()
"""
    done = kato_consul("--help", program=program)
    assert done.returncode == 2
    assert done.stderr == (f"the command line needs {missing}: pip install 'kato-consul[cli]'\n")
