"""`--help` of all commands on any terminal, and the messages for wrong arguments."""

import inspect
import re
import tomllib

import pytest

import kato_consul as package
from kato_consul import Registrar
from kato_consul._definitions.loader import decode_definitions
from kato_consul._registration.registration import CONSUL_WITHIN
from kato_consul.cli.exit_codes import EXITS
from kato_consul.cli.options.job_options import DEFAULT_WAIT_CONSUL
from tests.cli.running import all_at_once, kato_consul

COMMANDS = [
    "register", "run", "exec", "drain", "deregister", "instances", "watch", "observe",
    "predictions", "sessions", "doctor", "proxy", "api-key", "gateway", "dev", "demo",
]  # fmt: skip


def test_help_of_each_command() -> None:
    """It fits into 80 columns, has an example call, and no types for flags."""
    shown = all_at_once(*([command, "-h"] for command in COMMANDS))
    for command, done in zip(COMMANDS, shown, strict=True):
        assert (done.returncode, done.stderr) == (0, "")
        assert f"\n   kato-consul {command}" in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
        assert not re.search(r"<\w", done.stdout)


def test_help_of_the_program() -> None:
    """The first page lists every command and every exit code."""
    done = kato_consul("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"│ {command} " in done.stdout
    for code, meaning in EXITS.items():
        assert f"{code:>3}  {meaning}" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_example_file_in_help_is_valid() -> None:
    """The file shown by ``register --help`` is a valid definition file."""
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


def test_no_arguments_show_help() -> None:
    """Without arguments the help is shown; exit 2, since nothing was done."""
    done = kato_consul()
    assert done.returncode == 2
    assert "Usage: kato-consul" in done.stdout


def test_wrong_arguments() -> None:
    """An unknown command, option or value is named on stderr, with a pointer to help; exit 2."""
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
    """--version prints the version."""
    done = kato_consul("--version")
    assert (done.returncode, done.stdout) == (0, f"kato-consul {package.__version__}\n")


HEAVY = (
    "asyncio",
    "click",
    "consul",
    "httptools",
    "httpx",
    "requests",
    "rich",
    "structlog",
    "typer",
)


def loaded_after(arguments: list[str]) -> str:
    """The modules of `HEAVY` that the program has imported when it exits, one per line."""
    program = f"""
import sys
from kato_consul.cli import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit:
    pass
print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = kato_consul(program=program)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].partition("loaded:")[2].strip()


def test_version_imports_no_library() -> None:
    """--version is quick: it imports no dependency."""
    assert loaded_after(["--version"]) == ""


def test_help_imports_no_client() -> None:
    """--help imports what formats it, and nothing of what the commands do."""
    assert set(loaded_after(["register", "--help"]).split()) <= {"click", "rich", "typer"}


def test_version_beside_other_arguments() -> None:
    """--version counts also when it is not the only argument."""
    done = kato_consul("--version", "register")
    assert (done.returncode, done.stdout) == (0, f"kato-consul {package.__version__}\n")


def test_defaults_are_those_of_the_registrar() -> None:
    """--wait and --wait-consul have the defaults of `Registrar`."""
    wait = inspect.signature(Registrar).parameters["wait"].default
    assert f"[default: {wait:g}s]" in kato_consul("register", "--help").stdout
    assert DEFAULT_WAIT_CONSUL == CONSUL_WITHIN


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_missing_extra(missing: str) -> None:
    """Without the extra ``cli`` the message names what to install; exit 2."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from kato_consul.cli import main
main()
"""
    done = kato_consul("--help", program=program)
    assert done.returncode == 2
    assert done.stderr == (f"the command line needs {missing}: pip install 'kato-consul[cli]'\n")
