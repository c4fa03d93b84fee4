"""Callers in three languages, on one stand-in instance, and the check of what they were told."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul.testing.history import read_session
from kato_consul.testing.kato import StandInKato
from tests.callers.checking import Tally, check_callers
from tests.callers.running import PROGRAMS, Callers, missing
from tests.testing.waiting import eventually

OBSERVATIONS = 15
UNHURRIED: Any = {"count": 60, "pause": 0.03}  # so that something can happen meanwhile
ENDED = 60.0  # seconds in which a caller surely ends


def language_or_skip(language: str) -> str:
    """Skip the test if the machine does not have what the caller needs."""
    if needed := missing(language):
        pytest.skip(f"there is no {needed} on this machine")
    return language


@pytest.fixture
def kato(tmp_path: Path) -> Iterator[StandInKato]:
    """An instance."""
    with StandInKato(store=tmp_path / "store.sqlite", folder=tmp_path) as kato:
        yield kato


def check_at(kato: StandInKato, callers: Callers) -> Tally:
    """Compare what the callers were told with what the instance has."""
    return check_callers(callers.all, lambda session: read_session(kato.url, session))


@pytest.mark.parametrize("language", PROGRAMS)
def test_without_faults(kato: StandInKato, tmp_path: Path, language: str) -> None:
    """No request fails, and each observation is in the memory once."""
    languages = [language_or_skip(language)] * 2
    with Callers(kato.url, tmp_path, languages=languages, count=OBSERVATIONS) as callers:
        callers.wait(ENDED)
    tally = check_at(kato, callers)
    assert tally.passed, str(tally)
    assert tally.requests == 2 * (OBSERVATIONS + 2)
    assert tally.report.acknowledged == 2 * OBSERVATIONS


@pytest.mark.parametrize("language", PROGRAMS)
def test_failed_requests_are_counted_with_how(
    kato: StandInKato, tmp_path: Path, language: str
) -> None:
    """Requests to an instance that was killed fail, and are not repeated; later ones succeed."""
    languages = [language_or_skip(language)]
    with Callers(kato.url, tmp_path, languages=languages, **UNHURRIED) as callers:
        (caller,) = callers.all
        assert eventually(lambda: len(caller.read()) > 2)
        kato.kill()
        assert eventually(lambda: bool(caller.read()[-1].error))
        caller.process.send_signal(signal.SIGSTOP)  # so that it does not end before the start
        kato.start()
        caller.process.send_signal(signal.SIGCONT)
        callers.wait(ENDED)
    tally = check_at(kato, callers)
    assert tally.failed > 0
    assert tally.failed == tally.failures.total() == tally.report.unknown
    assert tally.report.consistent, str(tally)
    assert tally.report.acknowledged + tally.failed == UNHURRIED["count"]
    assert not tally.passed


def test_failed_requests_may_be_applied(kato: StandInKato, tmp_path: Path) -> None:
    """A caller that gives a request up does not keep the instance from applying it."""
    with Callers(kato.url, tmp_path, languages=["requests"], timeout=1.0, **UNHURRIED) as callers:
        (caller,) = callers.all
        assert eventually(lambda: len(caller.read()) > 2)
        kato.switch(slow=2.0)
        assert eventually(lambda: bool(caller.read()[-1].error))
        kato.switch(slow=0.0)
        callers.wait(ENDED)
    tally = check_at(kato, callers)
    assert 0 < tally.applied <= tally.failed
    assert tally.report.consistent, str(tally)


def test_a_lost_observation_is_found(kato: StandInKato, tmp_path: Path) -> None:
    """An instance with a full store acknowledges observations and does not save them."""
    with Callers(kato.url, tmp_path, languages=["requests"], **UNHURRIED) as callers:
        (caller,) = callers.all
        assert eventually(lambda: len(caller.read()) > 2)
        kato.switch(store="full")
        saved = len(caller.read())
        assert eventually(lambda: len(caller.read()) > saved + 2)
        kato.switch(store="up")
        callers.wait(ENDED)
    tally = check_at(kato, callers)
    assert tally.failed == 0
    assert tally.report.lost > 0
    assert tally.unread == tally.report.lost
    assert not tally.passed


def test_a_doubled_observation_is_found(kato: StandInKato, tmp_path: Path) -> None:
    """So it is if something between caller and instance sends an observation twice."""
    with Callers(kato.url, tmp_path, languages=["requests"], **UNHURRIED) as callers:
        (caller,) = callers.all
        assert eventually(lambda: len(caller.read()) > 2)
        opened, first, *_ = caller.read()
        url = f"{kato.url}/sessions/{opened.body['session_id']}/observe"
        again = httpx.post(url, json={"strings": [first.what["observe"]]}, trust_env=False)
        assert again.status_code == 200
        callers.wait(ENDED)
    tally = check_at(kato, callers)
    assert tally.report.twice == 1
    assert not tally.passed
