"""`kato-consul observe` and `predictions`: one session over several commands."""

import json
from collections.abc import Iterator

import pytest

from kato_consul import Registrar
from kato_consul.testing import Fleet
from tests.cli.running import kato_consul


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    """The address of a fleet's Consul."""
    with Fleet(2) as fleet, Registrar(fleet.definitions, fleet.settings):
        yield {"CONSUL_HTTP_ADDR": fleet.agent.http_addr}


def test_learned_sequence_is_predicted(env: dict[str, str]) -> None:
    """A session continues over commands; what it learned is predicted in another session."""
    first = kato_consul("observe", "--node", "shop", "tent", env=env)
    assert first.returncode == 0, first.stderr
    session = first.stdout.split()[1].rstrip(":")
    assert first.stdout == f"session {session}: time 1, 1 events\n"
    for strings in (["stove", "gas"], ["rope", "--learn"]):
        done = kato_consul("observe", "--session", session, *strings, env=env)
        assert done.returncode == 0, done.stderr
    assert f"session {session}: time 3, 3 events\nlearned PTRN|" in done.stdout

    again = kato_consul("observe", "--node", "shop", "--json", "tent", env=env)
    answer = json.loads(again.stdout)
    assert (answer["time"], answer["stm_length"]) == (1, 1)
    kato_consul("observe", "--session", answer["session_id"], "stove", "gas", env=env)
    command = ["predictions", "--session", answer["session_id"]]
    text = kato_consul(*command, env=env)
    assert text.stdout.endswith("  rope\n")
    found = json.loads(kato_consul(*command, "--json", env=env).stdout)
    assert found[0]["future"] == [["rope"]]


def test_no_predictions(env: dict[str, str]) -> None:
    """Without a matching learned sequence, a message says so."""
    done = kato_consul("observe", "--json", "--node", "empty", "x", env=env)
    session = json.loads(done.stdout)["session_id"]
    done = kato_consul("predictions", "--session", session, env=env)
    assert (done.returncode, done.stdout) == (
        0,
        "no predictions: no learned sequence matches these events\n",
    )


@pytest.mark.parametrize("command", [["observe", "x"], ["predictions"]])
def test_unknown_session(env: dict[str, str], command: list[str]) -> None:
    """A session that KATO does not have is an error, and no session is opened in its place."""
    done = kato_consul(command[0], "--session", "session-0-1", *command[1:], env=env)
    assert done.returncode == 1
    assert "'session-0-1' (session-0-1) is gone from KATO" in done.stderr


def test_predictions_need_a_session(env: dict[str, str]) -> None:
    """--session is required."""
    assert kato_consul("predictions", env=env).returncode == 2
