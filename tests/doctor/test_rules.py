"""What facts mean: each finding, when it is there, and when it is not."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._doctor.facts import Facts, InstanceFacts
from kato_consul._doctor.findings import SKEW, Severity
from kato_consul._doctor.rules import diagnose
from kato_consul.models import Health
from tests.building import instance

GOOD = InstanceFacts(
    instance("kato-1"),
    health="healthy",
    store_status=200,
    version="3.10.1",
    base_processor_id="kato",
    workers=1,
    skew=0.4,
    closes_idle=False,
)
OTHER = replace(GOOD, instance=instance("kato-2"))
FACTS = Facts(
    "kato", 4.0, leader="10.0.0.1:8300", skew=-0.3, allowed={"w": True}, instances=(GOOD, OTHER)
)


def names(facts: Facts) -> list[str]:
    """The names of what is found."""
    return [one.name for one in diagnose(facts)]


def test_all_is_well() -> None:
    """A pool of two that work as one gives nothing to say."""
    assert diagnose(FACTS) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"leader": ""}, ["consul.no-leader"]),
        ({"leader": "", "failing": {"reading": "500"}, "instances": None}, ["consul.no-leader"]),
        ({"failing": {"reading": "500"}, "instances": None}, ["consul.failing"]),
        ({"unreachable": "refused", "leader": "", "instances": None}, ["consul.unreachable"]),
        ({"skew": SKEW + 1}, ["consul.clock"]),
        ({"skew": -SKEW}, []),
        ({"skew": None}, []),
        ({"denied": {"reading": "403"}}, ["token.denied"]),
        ({"allowed": {"service:write": False}}, ["token.cannot-register"]),
        ({"allowed": {"service:read": False}}, ["token.cannot-read"]),
        ({"allowed": {"node:read": False}}, []),
        ({"allowed": {"node:read": False}, "instances": ()}, ["token.cannot-read", "pool.empty"]),
        ({"allowed": {}}, ["token.unknown"]),
        ({"instances": ()}, ["pool.empty"]),
        ({"instances": (GOOD,)}, ["pool.single"]),
    ],
)
def test_of_consul_and_pool(changed: dict[str, Any], found: list[str]) -> None:
    """What is wrong with Consul, the token, or the pool as a whole."""
    assert names(replace(FACTS, **changed)) == found


@pytest.mark.parametrize(
    ("health", "changed", "found"),
    [
        (Health.PASSING, {"store_status": 500}, ["check.dishonest"]),
        (Health.PASSING, {"store_status": None}, ["check.dishonest"]),
        (Health.CRITICAL, {"store_status": 500}, ["instance.store"]),
        (Health.WARNING, {"store_status": 500}, ["instance.store"]),
        (Health.CRITICAL, {}, ["check.wrong"]),
        (Health.CRITICAL, {"health": "unhealthy"}, ["instance.unhealthy"]),
        (Health.WARNING, {"health": "degraded"}, ["instance.unhealthy"]),
        (Health.PASSING, {"health": "unhealthy"}, ["check.dishonest"]),
        (Health.PASSING, {"unreachable": "refused"}, ["instance.unreachable"]),
        (Health.CRITICAL, {"unreachable": "refused"}, ["instance.ghost"]),
        (Health.PASSING, {"health": None}, ["instance.not-kato"]),
        (Health.MAINTENANCE, {}, ["instance.maintenance"]),
        (Health.PASSING, {"workers": 4}, ["instance.workers"]),
        (Health.PASSING, {"workers": None}, []),
        (Health.PASSING, {"closes_idle": True}, ["instance.keepalive"]),
        (Health.PASSING, {"closes_idle": None}, []),
        (Health.PASSING, {"skew": -60.0}, ["instance.clock"]),
        (Health.PASSING, {"no_address": True}, ["instance.no-address"]),
        (Health.PASSING, {"version": "3.9.0"}, ["pool.version"]),
        (Health.PASSING, {"version": None}, []),
        (Health.PASSING, {"base_processor_id": "kato-8001"}, ["pool.memory"]),
    ],
)
def test_of_an_instance(health: Health, changed: dict[str, Any], found: list[str]) -> None:
    """What is wrong with one of three instances; the others stay unnamed."""
    odd = replace(GOOD, instance=instance("kato-3", health), **changed)
    seen = diagnose(replace(FACTS, instances=(GOOD, OTHER, odd)))
    assert [one.name for one in seen] == found
    assert all("kato-3" in (one.where + one.what) for one in seen)
    assert all(one.todo for one in seen)


def test_none_usable() -> None:
    """When nobody passes, that is said beside what is wrong with each."""
    ill = replace(GOOD, instance=instance("kato-1", Health.CRITICAL), store_status=500)
    assert names(replace(FACTS, instances=(ill,))) == ["pool.none-usable", "instance.store"]


def test_worst_first() -> None:
    """Errors come before warnings, and those before notes."""
    odd = replace(GOOD, store_status=500, workers=4, no_address=True)
    severities = [one.severity for one in diagnose(replace(FACTS, instances=(odd, OTHER)))]
    assert severities == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
