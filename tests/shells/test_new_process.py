"""A process is killed during its calls, and another one goes on, as docs/guarantees.md says."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kato_consul import KatoClient
from kato_consul.testing import Fleet

CHILD = """
import itertools
from kato_consul import KatoClient
with KatoClient() as kato:
    session = kato.session("user-123", node_id="shop")
    for number in itertools.count():
        session.observe([f"event-{number:06}"])
        print(number, session.id, flush=True)
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two registered instances."""
    with Fleet(2, registered=True) as fleet:
        yield fleet


def test_session_of_a_killed_process_is_continued_by_its_id(fleet: Fleet) -> None:
    """What was acknowledged is in it, and the call in hand at most once. The key alone is new."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, **fleet.environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.kill()
        lines += process.stdout.readlines()
    acknowledged, session_id = lines[-1].split() if lines[-1].endswith("\n") else lines[-2].split()
    with KatoClient(fleet.settings) as kato:
        assert kato.session("user-123", node_id="shop").id is None
        assert kato.session("user-123").stm() == []
    with KatoClient(fleet.settings) as kato:
        session = kato.session("user-123", attach=session_id)
        stm = session.stm()
        assert stm == [[f"event-{number:06}"] for number in range(len(stm))]
        assert len(stm) in (int(acknowledged) + 1, int(acknowledged) + 2)
        assert session.info()["node_id"] == "shop"
        session.observe(["from the new process"])
        assert len(session.stm()) == len(stm) + 1
