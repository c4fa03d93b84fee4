"""Callers that know nothing, through the proxy, while instances and the proxy itself come and go.

`python -m tests.callers.run` has long runs, also through gateways.
"""

import itertools
import time
from collections import Counter
from pathlib import Path

from kato_consul.testing import Fleet
from kato_consul.testing.history import read_session
from tests.callers.checking import check_callers
from tests.callers.disturbing import (
    INSTANCE_KINDS,
    STOPPED,
    RegisteredInstances,
    front_plan,
    instance_plan,
)
from tests.callers.fronts import FRONT_KILLED, WAYS, front_of
from tests.callers.running import PROGRAMS, Callers, missing
from tests.testing.waiting import eventually

OBSERVATIONS, PAUSE = 100, 0.1
"""Each caller takes 12 s, and the disturbances half of that."""

STOPPED_FOR = 1.5
ENDED = 120.0


def test_instances_and_the_proxy_come_and_go(tmp_path: Path) -> None:
    """An instance is killed, another one stopped, and the proxy is replaced by a new process on the
    same address: no request fails, and each observation is in the memory once."""
    languages = [language for language in PROGRAMS if not missing(language)]
    with (
        Fleet(3) as fleet,
        RegisteredInstances(fleet) as instances,
        front_of(WAYS["proxy"], fleet, tmp_path) as front,
        Callers(front.url, tmp_path, languages=languages, count=OBSERVATIONS, pause=PAUSE) as group,
    ):
        assert eventually(lambda: all(len(caller.read()) > 2 for caller in group.all))
        instances.kill(0, lambda: None)
        instances.stop(1, lambda: time.sleep(STOPPED_FOR))
        front.disturb()
        disturbed_until = time.time()
        group.wait(ENDED)
        tally = check_callers(group.all, lambda session: read_session(front.url, session))
    assert tally.passed, str(tally)
    assert tally.report.acknowledged == OBSERVATIONS * len(languages)
    for caller in group.all:
        assert caller.read()[-1].began > disturbed_until  # else it has seen little of this
    assert not [log.name for log in front.logs if "Traceback" in log.read_text()]


def test_plans_are_those_of_their_seed() -> None:
    """Each round has each kind, and an instance is stopped for 3 to 5 s."""
    one, same, other = ([*itertools.islice(instance_plan(seed), 60)] for seed in (1, 1, 2))
    assert one == same
    assert one != other
    kinds = [disturbance.kind for disturbance in one]
    assert Counter(kinds) == {kind: 10 * count for kind, count in INSTANCE_KINDS.items()}
    assert all(3.0 <= each.lasts <= 5.0 for each in one if each.kind == STOPPED)
    of_front = [*itertools.islice(front_plan(1, FRONT_KILLED), 3)]
    assert {each.kind for each in of_front} == {FRONT_KILLED}
