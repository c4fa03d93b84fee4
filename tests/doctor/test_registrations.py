"""Registrations: what doctor reads from Consul's records, and which of them change all the time."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._doctor.collect import FLAPPING_READS, FactCollector
from kato_consul._doctor.facts import RegistrationFacts
from kato_consul._doctor.registrations import read_registration, registrations_call
from kato_consul._flow import Outcome
from tests.building import refused, reply
from tests.flows import Player

SERF = {"CheckID": "serfHealth", "Status": "passing", "ServiceID": "", "Output": "alive"}
DRAINED = {"CheckID": "_service_maintenance:kato-1", "Status": "critical", "ServiceID": "kato-1"}
PROBE = {
    "Node": "box",
    "CheckID": "kato-probe:kato-1",
    "Status": "critical",
    "ServiceID": "kato-1",
    "Type": "ttl",
    "Output": "KATO does not answer",
}
EXPIRED = {**PROBE, "Output": "TTL expired (last output before timeout follows): KATO answers"}
PLAIN = {**PROBE, "CheckID": "alive", "Type": "http"}


def record(*checks: dict[str, Any], index: int = 7, **service: Any) -> dict[str, Any]:
    """Return Consul's record of an instance on the node ``box``."""
    known = {"ID": "kato-1", "Address": "10.0.0.1", "ModifyIndex": index}
    return {"Node": {"Node": "box"}, "Service": {**known, **service}, "Checks": list(checks)}


FACTS = RegistrationFacts(node_alive=True, checks=1)


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (None, RegistrationFacts()),
        (record(SERF, PLAIN), FACTS),
        (record(SERF, PLAIN, DRAINED), FACTS),
        (record(SERF), replace(FACTS, checks=0)),
        (record(PLAIN), replace(FACTS, node_alive=None)),
        (record({**SERF, "Status": "critical"}, PLAIN), replace(FACTS, node_alive=False)),
        (record(SERF, PLAIN, Address=""), replace(FACTS, no_address=True)),
        (record(SERF, PLAIN, Meta={"registrar": "a"}), replace(FACTS, owner="a")),
        (record(SERF, PLAIN, Meta=None), FACTS),
        (record(SERF, PROBE), replace(FACTS, probed=True, reporting=True)),
        (
            record(SERF, {**PROBE, "Type": "http"}),
            replace(FACTS, probed=True),
        ),  # the agent runs it itself
        (record(SERF, EXPIRED), replace(FACTS, probed=True, expired=("kato-probe:kato-1",))),
        (
            record(SERF, {**EXPIRED, "Status": "passing"}),
            replace(FACTS, probed=True, reporting=True),
        ),
    ],
)
def test_facts_of_a_registration(given: dict[str, Any] | None, facts: RegistrationFacts) -> None:
    """Each fact, and what is none."""
    assert read_registration(given, {}) == facts


@pytest.mark.parametrize(("node", "expired"), [("box", ("kato-probe:kato-1",)), ("n2", ())])
def test_newest_output_is_the_agents(node: str, expired: tuple[str, ...]) -> None:
    """The catalog has an output late; a check with the same id on another node is another one."""
    newest = {"kato-probe:kato-1": {**EXPIRED, "Node": node}}
    assert read_registration(record(SERF, PROBE), newest).expired == expired


def flapping(*reads: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what is found to change, for these records of one instance; None is no answer."""
    first, *others = reads
    collector = FactCollector(ConsulApi("http://consul.test:8500"), "kato", 4.0, lambda: 0.0)
    collector.registrations = {("box", "kato-1"): first}
    answers = iter(others)

    def answer(send: object) -> Outcome:
        now = next(answers)
        return refused() if now is None else reply(200, now if isinstance(now, list) else [now])

    return Player(answer).play(collector.flapping())


def test_records_without_an_id_are_left_out() -> None:
    """An entry that is none does not hide the others."""
    call = registrations_call(ConsulApi("http://consul.test:8500"), "kato")
    answer = reply(200, [record(PLAIN), {"Service": {}}, {"Node": None}, "odd", None])
    assert call.parse(answer).keys() == {("box", "kato-1")}


A, B = ({"Meta": {"registrar": name}} for name in "ab")


def test_registration_that_changes_again_and_again() -> None:
    """Each read differs from the one before: the registrars that were seen are named. The check of
    another service with the same id is such a change, too."""
    by_two = [record(PLAIN, index=n, **(A, B)[n % 2]) for n in range(FLAPPING_READS + 1)]
    assert flapping(*by_two) == {("box", "kato-1"): ("a", "b")}
    taken = [record(*[PLAIN][: n % 2]) for n in range(FLAPPING_READS + 1)]
    assert flapping(*taken) == {("box", "kato-1"): ("",)}


@pytest.mark.parametrize(
    "reads",
    [
        [record(PLAIN), record(PLAIN)],
        [record(PLAIN), record(PLAIN, index=8), record(PLAIN, index=8)],  # a deployment
        [record(PLAIN), record({**PLAIN, "Status": "passing"})],  # its health
        [record(PLAIN), record(PLAIN, DRAINED)],
        [record(PLAIN), []],  # deregistered
        [record(PLAIN), None],
    ],
)
def test_registration_that_changes_once(reads: list[Any]) -> None:
    """A single change is not flapping, and neither is a change of health."""
    assert flapping(*reads) == {}
