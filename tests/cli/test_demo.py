"""`kato-consul demo`: the main job with a crash in the middle, and a verdict that can be bad."""

import asyncio
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kato_consul.cli.demo.ledger import Ledger
from kato_consul.cli.demo.report import DemoReport, differences, verify
from kato_consul.testing import StandInKato
from tests.cli.running import HTTP, left_behind, line_with, marked, started
from tests.cli.terminal import Terminal
from tests.testing.waiting import eventually

ALL_OF_IT = 60.0
"""Seconds that a demo may take."""

SHORT = """
from kato_consul.cli.demo.command import command as demo
demo.SECONDS, demo.KILL_AT, demo.RETURN_AT = 2.0, 1.0, 1.5
"""

LOSING = f"""{SHORT}
import json, sqlite3
from kato_consul.cli import main

verify = demo.verify

def losing(told, failed, url):
    # The store loses one observation, after all was done and before it is read back.
    session = told[0].session.id
    with sqlite3.connect(store()) as db:
        (document,) = db.execute("SELECT document FROM sessions WHERE id = ?", [session]).fetchone()
        changed = json.loads(document)
        del changed["stm"][-1]
        db.execute("UPDATE sessions SET document = ? WHERE id = ?", [json.dumps(changed), session])
    return verify(told, failed, url)

def store():
    import glob, os, tempfile
    (path,) = glob.glob(os.path.join(tempfile.gettempdir(), "kato-consul-*", "store.sqlite"))
    return path

demo.verify = losing
main()
"""


@pytest.mark.parametrize(
    ("expected", "found", "missing", "extra"),
    [
        ("", "", 0, 0),
        ("abc", "abc", 0, 0),
        ("abc", "ac", 1, 0),
        ("abc", "abbc", 0, 1),
        ("abc", "", 3, 0),
        ("", "ab", 0, 2),
        ("abc", "abd", 1, 1),
        ("abcabc", "abc", 3, 0),
        ("abc", "acb", 2, 0),  # each once, but two of them not where they were put
    ],
)
def test_differences(expected: str, found: str, missing: int, extra: int) -> None:
    """What is missing, or in another place, is lost; what is there too often was applied twice."""
    assert differences(expected, found) == (missing, extra)


@pytest.mark.parametrize(
    ("verdict", "good"),
    [
        (DemoReport(100, 0, 0, 0), True),
        (DemoReport(100, 1, 0, 0), False),
        (DemoReport(100, 0, 1, 0), False),
        (DemoReport(100, 0, 0, 1), False),
        (DemoReport(0, 0, 0, 0), False),  # nothing done is nothing shown
    ],
)
def test_what_is_good(verdict: DemoReport, good: bool) -> None:
    """Only three zeros are good, of at least one observation."""
    assert verdict.good is good


class Talk:
    """A session told past our client: two stories learned twice, and three events open."""

    def __init__(self, kato: StandInKato, node: str) -> None:
        self.kato = kato
        session = HTTP.post(f"{kato.url}/sessions", json={"node_id": node})
        self.id = session.json()["session_id"]
        self.told = Ledger(cast(Any, SimpleNamespace(id=self.id, key=node)))
        for number in (1, 2):
            story = tuple(f"{node}-{number}-{event}" for event in range(4))
            for _ in range(2):
                name = self.learn(story)
            self.told.learned[story] = 2
            self.told.names[story] = name
        for event in ("x", "y", "z"):
            self.post("observe", {"strings": [event]})
            self.told.open.append(event)

    def post(self, what: str, body: Any = None) -> Any:
        """The stand-in's answer."""
        url = f"{self.kato.url}/sessions/{self.id}/{what}"
        return HTTP.post(url, json=body).raise_for_status().json()

    def learn(self, story: tuple[str, ...]) -> str:
        """Observe and learn a story; its name."""
        for event in story:
            self.post("observe", {"strings": [event]})
        return str(self.post("learn")["pattern_name"])

    def verdict(self) -> tuple[int, int, int]:
        """Acknowledged, lost and applied twice."""
        found = asyncio.run(verify([self.told], 0, self.kato.url))
        return found.observations, found.lost, found.applied_twice


@pytest.fixture(scope="module")
def kato(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stand-in instance."""
    folder = tmp_path_factory.mktemp("kato")
    with StandInKato(store=folder / "store.sqlite", folder=folder) as running:
        yield running


def test_all_is_there(kato: StandInKato) -> None:
    """What was acknowledged is found; all of it is counted."""
    assert Talk(kato, "good").verdict() == (2 * 2 * 4 + 3, 0, 0)


def test_an_open_event_that_is_lost(kato: StandInKato) -> None:
    """An observation missing from the short-term memory is lost."""
    talk = Talk(kato, "open")
    talk.told.open.append("acknowledged, and not there")
    assert talk.verdict() == (20, 1, 0)


def test_an_open_event_that_is_there_twice(kato: StandInKato) -> None:
    """One that is in the short-term memory once more was applied twice."""
    talk = Talk(kato, "double")
    talk.post("observe", {"strings": ["z"]})
    assert talk.verdict() == (19, 0, 1)


@pytest.mark.parametrize("named", [True, False])
def test_a_story_that_was_learned_too_often(kato: StandInKato, named: bool) -> None:
    """A learn applied twice is seen by the counts, also where no answer ever carried the name."""
    talk = Talk(kato, f"often{named}")
    story = next(iter(talk.told.learned))
    if not named:
        del talk.told.names[story]
    talk.told.learned[story] -= 1
    assert talk.verdict() == (15, 0, 4)


@pytest.mark.parametrize("named", [True, False])
def test_a_story_that_is_lost(kato: StandInKato, named: bool) -> None:
    """A story acknowledged and not there is lost, named or not."""
    talk = Talk(kato, f"lost{named}")
    story = ("a", "b", "c")
    talk.told.learned[story] = 1
    if named:
        talk.told.names[story] = "PTRN|0000000000000000000000000000000000000000"
    assert talk.verdict() == (22, 3, 0)


def test_a_story_in_another_order(kato: StandInKato) -> None:
    """Counts that are right do not hide that a pattern is not what was told."""
    talk = Talk(kato, "order")
    story = next(iter(talk.told.learned))
    swapped = (story[1], story[0], *story[2:])
    talk.told.names[swapped] = talk.told.names.pop(story)
    talk.told.learned[swapped] = talk.told.learned.pop(story)
    assert talk.verdict() == (19, 4, 0)


def test_the_whole_demo() -> None:
    """Three zeros, told in JSON with all that led to them; under a minute; no process is left."""
    mark = marked()
    with started("demo", "--json", env=mark) as process:
        text, progress = process.communicate(timeout=ALL_OF_IT)
    assert process.returncode == 0, progress
    assert text.count("\n") == 1
    found = json.loads(text)
    promised = {name: found.pop(name) for name in ("good", "failed", "lost", "applied_twice")}
    assert promised == {"good": True, "failed": 0, "lost": 0, "applied_twice": 0}
    assert (found.pop("sessions"), found.pop("instances")) == (8, 3)
    answered = found.pop("answered")
    assert set(answered) == {"kato-1", "kato-2", "kato-3"}
    killed = found.pop("killed")
    assert killed in answered
    assert set(found) == {
        "observations", "failovers", "settlements", "repairs", "learned", "asked", "predicted"
    }  # fmt: skip
    assert all(isinstance(count, int) for count in found.values())
    # Each story is observed and learned twice, and asked for once; three more events stay open.
    assert found["observations"] == 6 * found["learned"] + 8 * 3
    assert found["predicted"] == found["asked"] == found["learned"] / 2
    assert found["settlements"] >= 1  # the victim had calls in its hands
    assert sum(answered.values()) >= found["observations"]
    # What went on is told meanwhile, on standard error.
    for words in ("kato-1: passing", f"{killed} killed with SIGKILL", f"{killed} started again"):
        assert words in progress
    assert "Traceback" not in progress
    assert eventually(lambda: left_behind(mark) == []), left_behind(mark)


def test_a_store_that_loses_an_observation(tmp_path: Path) -> None:
    """One observation lost is found, and said; exit 1. In a terminal there is a table meanwhile."""
    env = {"TMPDIR": str(tmp_path)}
    with Terminal("demo", env=env, program=LOSING) as terminal:
        assert terminal.wait(ALL_OF_IT) == 1
    assert "0 failed, 1 lost, 0 applied twice" in terminal.shown
    assert "That is not what was promised" in terminal.shown
    assert any("Consul says" in line for line in terminal.lines)
    assert any("killed with SIGKILL" in line for line in terminal.lines)
    assert all(len(line) <= 80 for line in terminal.lines)


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the work ends all: exit 130, no process, no file, no traceback."""
    mark = marked()
    with started("demo", env={**mark, "TMPDIR": str(tmp_path)}) as process:
        line_with(process, "0 failed", stream=process.stderr)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.endswith("interrupted\n")
    assert eventually(lambda: left_behind(mark) == []), left_behind(mark)
    assert list(tmp_path.iterdir()) == []
