"""The protocol of lease, hand-over and fence keeps its promises in every world of a bounded size,
and each of its rules is needed: without it, a promise is broken.

`make hunt` searches larger worlds, of calls that its seed chooses.
"""

import os

import pytest

from tests.kato.seeding import SEED
from tests.owning.model import Model
from tests.owning.positions_model import PositionRule, PositionsModel
from tests.owning.rules import Rule
from tests.owning.scenarios import (
    LOGS,
    POSITIONS_WITHOUT,
    SCENARIOS,
    WITHOUT,
    random_scenario,
)
from tests.owning.search import Result, Search

FAULTS = 2
"""Faults in one search: lost leases, crashes, lost answers, refusals, calls that are given up."""

POSITION_FAULTS = 3

RANDOM_CALLS = int(os.environ.get("KATO_CONSUL_MODEL_CALLS") or 3)
RANDOM_STATES = int(os.environ.get("KATO_CONSUL_MODEL_STATES") or 20_000)
"""Calls of the random scenario, and how many states of it are searched at most."""


def require_whole(result: Result, name: str) -> None:
    """Print how many states were searched; fail with the trace if a promise is broken."""
    print(f"{name}: {result.states:,} states")  # noqa: T201
    assert result.violation is None, "\n".join([result.violation, *result.trace])


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_promise_is_broken(name: str) -> None:
    """All that two processes can do with these calls, and all faults."""
    require_whole(Search(Model(SCENARIOS[name]), FAULTS).run(), name)


def test_no_promise_is_broken_in_a_random_scenario() -> None:
    """Calls that a seed chooses; the states with the fewest faults come first."""
    calls = random_scenario(SEED, RANDOM_CALLS)
    result = Search(Model(calls), faults=4, most_states=RANDOM_STATES).run()
    require_whole(result, f"seed {SEED}, {calls}")


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.name)
def test_each_rule_is_needed(rule: Rule) -> None:
    """Without a rule, the search finds the promise that it is there for."""
    name, faults, broken = WITHOUT[rule]
    result = Search(Model(SCENARIOS[name], frozenset({rule})), faults).run()
    print(f"without {rule.name}: {result.states:,} states", *result.trace, sep="\n")  # noqa: T201
    assert result.violation is not None
    assert broken in result.violation


@pytest.mark.parametrize("name", LOGS)
def test_positions_repeat_and_skip_nothing(name: str) -> None:
    """A consumer that crashes at any step, and sessions that KATO loses."""
    require_whole(Search(PositionsModel(LOGS[name], 1), POSITION_FAULTS).run(), name)


@pytest.mark.parametrize("rule", PositionRule, ids=lambda rule: rule.name)
def test_each_rule_of_positions_is_needed(rule: PositionRule) -> None:
    """Without a rule, the search finds a message that is repeated, skipped or not known."""
    name, broken = POSITIONS_WITHOUT[rule]
    model = PositionsModel(LOGS[name], 1, frozenset({rule}))
    result = Search(model, POSITION_FAULTS).run()
    print(f"without {rule.name}: {result.states:,} states", *result.trace, sep="\n")  # noqa: T201
    assert result.violation is not None
    assert broken in result.violation
