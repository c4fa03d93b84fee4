"""`kato-consul sessions`: what a session directory holds, and a release by hand."""

import json
import os
import socket
from collections.abc import Iterator

import pytest

from kato_consul import KatoClient, SessionEntry
from kato_consul.cli.session_table import details, summary, table
from kato_consul.testing.ports import HOST
from tests.cli.running import fresh_name, kato_consul, without_waiting
from tests.cli.terminal import Terminal
from tests.directory.sites import KINDS, Site, site

HERE = f"{socket.gethostname()}:{os.getpid()}"

FIELDS = {
    "key": str,
    "id": str,
    "owner": str,
    "last_owner": str,
    "released": bool,
    "epoch": int,
    "node_id": str,
    "aliases": list,
    "time": int,
    "events": int,
    "ttl": int,
    "written_at": float,
    "expires_at": float,
    "age": float,
}


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A deployment with each kind of directory."""
    with site(str(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def kato(shared: Site) -> Iterator[KatoClient]:
    """A client that owns ``user-1`` and ``user-2``; another one has released ``user-3``."""
    with KatoClient(shared.settings(session_ttl=7200)) as owner:
        with KatoClient(shared.settings(session_ttl=7200)) as other:
            other.session("user-3").observe(["a secret symbol"])
        for key in ("user-1", "user-2"):
            owner.session(key).observe(["a secret symbol"])
        yield owner


def test_json(shared: Site, kato: KatoClient) -> None:
    """One line: an array of objects, ordered by key, with all fields. No content."""
    done = kato_consul("sessions", "--json", env=shared.env())
    assert (done.returncode, without_waiting(done.stderr)) == (0, "")
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert [entry["key"] for entry in found] == ["user-1", "user-2", "user-3"]
    assert {name: type(value) for name, value in found[0].items()} == FIELDS
    assert [entry["owner"] for entry in found] == [HERE, HERE, None]
    assert [entry["released"] for entry in found] == [False, False, True]
    assert found[0]["id"] == kato.session("user-1").id
    assert found[0]["epoch"] == kato.session("user-1").facts.epoch
    assert "secret" not in done.stdout


def test_table(shared: Site, kato: KatoClient) -> None:
    """For grep: one line for each session, and a summary."""
    done = kato_consul("sessions", env=shared.env())
    assert (done.returncode, without_waiting(done.stderr)) == (0, "")
    head, first, second, third, last = done.stdout.splitlines()
    assert head.split() == ["key", "id", "owner", "epoch", "age"]
    session = kato.session("user-1")
    assert first.split()[:4] == ["user-1", session.id, HERE, str(session.facts.epoch)]
    assert second.startswith("user-2 ")
    assert f"none (released by {HERE})" in third
    kind = "Consul" if shared.redis is None else "Redis"
    assert last.startswith(f"{shared.fleet.settings.service} in {kind} at {HOST}:")
    assert last.endswith(": 3 sessions, 2 owned by 1 process, 1 released")


def test_one_key(shared: Site, kato: KatoClient) -> None:
    """All of one session: as lines, and as an array of one object."""
    done = kato_consul("sessions", "--key", "user-1", env=shared.env())
    assert (done.returncode, without_waiting(done.stderr)) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (lines["key"], lines["id"]) == ("user-1", kato.session("user-1").id)
    assert (lines["owner"], lines["node"]) == (HERE, "user-1")
    assert lines["expires"] == "in 4 hours, unless it is used"
    done = kato_consul("sessions", "--key", "user-1", "--json", env=shared.env())
    (entry,) = json.loads(done.stdout)
    assert (entry["key"], entry["owner"]) == ("user-1", HERE)


def test_release(shared: Site, kato: KatoClient) -> None:
    """The owner hands the session over, and its next call goes on with it."""
    session = kato.session("released by hand")
    session.observe(["a"])
    command = ["sessions", "--key", "released by hand", "--release"]
    done = kato_consul(*command, "--json", env=shared.env())
    assert done.returncode == 0, done.stderr
    assert f"asking {HERE} to release it" in done.stderr
    (entry,) = json.loads(done.stdout)
    assert (entry["owner"], entry["released"], entry["id"]) == (None, True, session.id)
    assert entry["epoch"] > session.facts.epoch
    done = kato_consul(*command, env=shared.env())
    assert done.returncode == 0
    assert "no process owns it, so there is nothing to release" in done.stderr
    session.observe(["b"])
    assert session.stm() == [["a"], ["b"]]
    session.delete()


@pytest.mark.usefixtures("kato")
@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("USER", "near ones: user-1, user-2, user-3"),
        ("usr-1", "near ones: user-1"),
        ("xyz", " sessions: 'kato-consul sessions' lists them"),
    ],
)
def test_unknown_key(shared: Site, key: str, hint: str) -> None:
    """Near keys are named, or how many there are."""
    done = kato_consul("sessions", "--key", key, env=shared.env())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"has no session {key!r} of {shared.fleet.settings.service!r}; " in done.stderr
    assert hint in done.stderr


def test_empty_directory(shared: Site) -> None:
    """It says what that means; as JSON it is an empty array."""
    env = shared.env(fresh_name())
    done = kato_consul("sessions", env=env)
    assert (done.returncode, without_waiting(done.stderr)) == (0, "")
    assert ": no sessions. No process with this directory and this service has" in done.stdout
    assert kato_consul("sessions", "--json", env=env).stdout == "[]\n"
    done = kato_consul("sessions", "--key", "user-1", env=env)
    assert done.returncode == 1
    assert "no sessions. No process with this directory" in done.stderr


@pytest.mark.usefixtures("kato")
def test_terminal(shared: Site) -> None:
    """The same lines as for a pipe."""
    with Terminal("sessions", env=shared.env()) as terminal:
        assert terminal.wait() == 0
    assert "user-1" in terminal.shown
    assert "owned by 1 process, 1 released" in terminal.shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no session directory is set (KATO_CONSUL_SESSION_DIRECTORY)"),
        (["--directory", "http://x"], "must be consul, or the URL of a Redis server"),
        (["--directory", "consul", "--release"], "--release needs --key"),
        (["--directory", "consul", "--key", ""], "--key is empty"),
    ],
)
def test_wrong_options(arguments: list[str], text: str) -> None:
    """Exit 2, with what to do."""
    done = kato_consul("sessions", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


@pytest.mark.parametrize("directory", ["consul", f"redis://:hidden@{HOST}:1/0"])
def test_no_answer(directory: str) -> None:
    """Exit 3, with the place and never the password."""
    env = {"CONSUL_HTTP_ADDR": f"{HOST}:1", "KATO_CONSUL_SESSION_DIRECTORY": directory}
    done = kato_consul("sessions", env=env)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{'Consul' if directory == 'consul' else 'Redis'} at {HOST}:1" in done.stderr
    assert "hidden" not in done.stderr


def test_password() -> None:
    """One that is right works and is not shown; a wrong one is exit 4; one in an argument is
    warned of, since others can read it."""
    with site("redis", password="right-secret") as shared:
        env = shared.env()
        assert kato_consul("sessions", env=env).returncode == 0
        wrong = shared.directory.replace("right", "wrong")
        done = kato_consul("sessions", "--directory", wrong, env=env)
        assert (done.returncode, done.stdout) == (4, "")
        assert "other users of this machine can read" in done.stderr
        assert "set the user and the password in the URL" in done.stderr
        assert "secret" not in done.stderr


def entry(key: str, **given: object) -> SessionEntry:
    """Return an entry."""
    fields: dict[str, object] = {
        "key": key, "id": None, "owner": None, "last_owner": "", "released": False, "epoch": 1,
        "node_id": "", "aliases": (), "time": 0, "events": 0, "ttl": None, "written_at": None,
        "expires_at": None, **given,
    }  # fmt: skip
    return SessionEntry(**fields)  # type: ignore[arg-type]


def test_texts_from_outside_are_escaped() -> None:
    """Keys are anything: they may not move a terminal's cursor, nor make two lines of one. Wide
    characters keep the columns."""
    lines = table([entry("a\n\x1b[2Jb"), entry("会話"), entry("user", owner="h:1\x07")])
    assert lines[1].startswith("a\\n\\x1b[2Jb  ")
    assert lines[2].startswith(f"会話{' ' * (len(lines[1].split()[0]) - 4)}  none")
    assert "h:1\\x07" in lines[3]
    assert "\x1b" not in details(entry("\x1b", last_owner="\x1b"))


def test_summary_counts() -> None:
    """What no process owns was released, or left by a process that died."""
    owned = [entry(str(number), owner=f"h:{number % 2}") for number in range(4)]
    assert summary(owned) == "4 sessions, 4 owned by 2 processes"
    assert summary([entry("a")]) == "1 session, 1 left"
    assert summary([entry("a", released=True)]) == "1 session, 1 released"
