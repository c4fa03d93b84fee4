"""Calls with keys and positions on real processes: one is killed in the middle of a call, the next
one makes that call again and goes on. Each message and each keyed call is applied once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from kato_consul import KatoClient
from kato_consul.testing import Fleet
from kato_consul.testing.redis import RedisServer

MESSAGES = 25
"""Fewer than the keys that a session knows: the next process makes all calls again."""

KILLED_AT = (6, 7, 15)
"""The messages before which a process is killed, in the order of the processes."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A Consul agent and three instances."""
    with Fleet(3, registered=True) as running:
        yield running


@pytest.fixture(params=["consul", "redis"])
def directory(request: pytest.FixtureRequest) -> Iterator[str]:
    """What the settings name as the session directory."""
    with ExitStack() as running:
        if request.param == "consul":
            yield "consul"
        else:
            yield running.enter_context(RedisServer()).url


@pytest.mark.parametrize("shell", ["sync", "async"])
def test_killed_in_the_middle_of_a_call(fleet: Fleet, directory: str, shell: str) -> None:
    """Nothing is lost, nothing is applied twice, and the order is that of the log."""
    fleet.reset()
    environment = {
        **os.environ,
        **fleet.environment,
        "KATO_CONSUL_SESSION_DIRECTORY": directory,
        "KATO_CONSUL_DEADLINE": "60",
    }
    argv = [sys.executable, "-m", "tests.directory.calling_process", shell, str(MESSAGES)]
    for last in KILLED_AT:
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= last:
                    process.kill()
                    break
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
    settings = replace(fleet.settings, session_directory=directory, deadline=60.0)
    with KatoClient(settings) as kato:
        memory = [symbol for event in kato.session("reader").stm() for symbol in event]
        keyed = [symbol for event in kato.session("keys").stm() for symbol in event]
    assert memory == [f"m{offset:03}" for offset in range(MESSAGES)]
    assert keyed == [f"k{offset:03}" for offset in range(MESSAGES)]
