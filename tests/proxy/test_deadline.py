"""Deadlines: a request ends in time, also if each part of it waits, and says what it knows."""

import threading
import time
from dataclasses import replace

import pytest

from kato_consul import Settings
from kato_consul.testing import Fleet
from tests.proxy.served import ServedProxy, call

DEADLINE = 4.0
KEY = {"Idempotency-Key": '"in-doubt"'}


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Settings with a short deadline."""
    return replace(settings, deadline=DEADLINE, attempt_timeout=1.5)


def hang(fleet: Fleet, *, hung: bool) -> None:
    """Let all instances hang, or go on."""
    for instance in fleet.instances.values():
        instance.switch(hung=hung)


def test_all_parts_have_one_deadline(fleet: Fleet, hasty: Settings) -> None:
    """The session is looked for while the instances hang, and acquired while the directory does."""
    with ServedProxy(hasty) as first:
        session = first.open()
    with ServedProxy(hasty) as second:
        second.open()  # its lease has begun
        hang(fleet, hung=True)

        def directory_instead() -> None:
            time.sleep(DEADLINE * 0.7)  # most of the deadline is over
            fleet.agent.freeze()
            hang(fleet, hung=False)

        changing = threading.Thread(target=directory_instead)
        changing.start()
        try:
            # With a deadline for each part it would take 1.7 deadlines.
            response = call(
                second.port,
                "POST",
                f"{session}/observe",
                {"strings": ["a"]},
                timeout=DEADLINE * 1.5,
            )
        finally:
            changing.join()
            fleet.agent.thaw()
    assert response.status == 503
    assert response.json["outcome"] == "not_applied"


def test_outcome_in_doubt(fleet: Fleet, hasty: Settings) -> None:
    """A request that no instance answers any more, and its repetition, are unknown until one does;
    a key makes the repetition safe."""
    with ServedProxy(hasty) as proxy:
        session = proxy.open()
        proxy.observe(session, "first")
        for instance in fleet.instances.values():
            instance.switch(slow=1.0)
        answers = []
        observing = threading.Thread(
            target=lambda: answers.append(proxy.observe(session, "second", **KEY))
        )
        observing.start()
        time.sleep(0.3)  # it has been sent, and is not applied yet
        hang(fleet, hung=True)
        for instance in fleet.instances.values():
            instance.freeze()
        observing.join()
        answers.append(proxy.observe(session, "second", **KEY))
        for answer in answers:
            assert answer.status == 500
            assert answer.json["outcome"] == "unknown"
            assert "same Idempotency-Key" in answer.json["detail"]
        for instance in fleet.instances.values():
            instance.thaw()
            instance.switch(hung=False, slow=0.0)
        assert proxy.observe(session, "second", **KEY).json["time"] == 2
        assert proxy.stm(session) == [["first"], ["second"]]
