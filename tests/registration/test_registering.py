"""Registering one instance: when the status that an agent keeps is stale, and what is sent then."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.former_registration import former_registration
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    probe_check_id,
)
from kato_consul._registration.contest import Contest, describe_differences
from kato_consul._registration.registering import (
    Checks,
    check_ids_as_defined,
    has_stale_status,
    is_fed,
    registration_calls,
)
from tests.registration.fake_agent import listed

HTTP = CheckDefinition(id="alive", http="http://10.0.0.5:8001/health")
TCP = CheckDefinition(id="alive", tcp="10.0.0.5:8001")
PAY = ServiceDefinition(name="pay", id="pay-1", address="10.0.0.5", port=8001, check=HTTP)
PROBED = replace(PAY, check=None, checks=(), probe=ProbeDefinition())
HTTP_OUTPUT = "HTTP GET http://10.0.0.5:8001/health: 200 OK Output: fine"
TCP_OUTPUT = "TCP connect 10.0.0.5:8001: Success"


def checks_of(
    check_id: str = "alive", status: str = "passing", kind: str = "http", output: str = HTTP_OUTPUT
) -> dict[str, dict[str, Any]]:
    """Return an agent's checks: one of the instance."""
    check = {"ServiceID": "pay-1", "Status": status, "Type": kind, "Output": output, "Name": "x"}
    return {check_id: check}


PROBE = probe_check_id("pay-1")
OTHER_URL = CheckDefinition(id="alive", http="http://10.0.0.5:8001/ready")


@pytest.mark.parametrize(
    ("before", "now", "checks", "stale"),
    [
        (PAY, PAY, checks_of(), False),
        (PAY, replace(PAY, tags=("new",)), checks_of(), False),
        (PAY, replace(PAY, port=9), checks_of(), True),
        (PAY, replace(PAY, address="10.0.0.6"), checks_of(), True),
        (PAY, replace(PAY, port=9), checks_of(status="warning"), True),
        (PAY, replace(PAY, port=9), checks_of(status="critical"), False),
        (PAY, replace(PAY, port=9), checks_of("another"), False),
        (PAY, replace(PAY, check=OTHER_URL), checks_of(), True),
        (PAY, replace(PAY, check=TCP), checks_of(), True),
        (PAY, replace(PAY, check=TCP), checks_of(kind="tcp", output=TCP_OUTPUT), False),
        # After a restart, an agent has no output; before 1.7 it has no type.
        (PAY, replace(PAY, check=OTHER_URL), checks_of(output=""), False),
        (PAY, replace(PAY, check=TCP), checks_of(kind=""), False),
        # From a registrar's TTL check to the agent's own, of the same instance.
        (PROBED, PROBED, checks_of(PROBE, kind="ttl", output="KATO and its store answer"), False),
        (PROBED, replace(PROBED, port=9), checks_of(PROBE, kind="ttl", output="fine"), True),
    ],
)
def test_status_is_stale_if_it_is_of_another_target(
    before: ServiceDefinition, now: ServiceDefinition, checks: Checks, stale: bool
) -> None:
    """An agent keeps a check's status: it is not believed if the address, the port or what the
    check connects to has changed."""
    service = listed(before)["pay-1"]
    assert has_stale_status(RegistrationPayload(now), service, checks) is stale


def test_new_instance_has_no_stale_status() -> None:
    """There is no status of an instance that the agent does not have."""
    assert not has_stale_status(RegistrationPayload(PAY), None, {})


def sent(now: ServiceDefinition, checks: Checks) -> list[str]:
    """Return the requests that register an instance which the agent has with another port."""
    api, services = ConsulApi("http://consul.test:8500"), listed(PAY)
    calls = registration_calls(api, RegistrationPayload(now), services, checks)
    return [f"{call.send.target} {call.send.body.decode()}" for call in calls]


def test_changed_instance_is_critical_in_between() -> None:
    """It is registered with a critical check first, in which all others are replaced."""
    first, second = sent(replace(PAY, port=9), checks_of())
    assert "replace-existing-checks=true" in first
    assert '"Status": "critical"' in first
    assert '"port": 9' in first
    assert "alive" not in first
    assert "replace-existing-checks=true" in second
    assert '"CheckID": "alive"' in second


def test_changed_instance_stays_in_maintenance_mode() -> None:
    """Replacing all checks would end it: the changed ones are deregistered one by one."""
    maintenance = {"_service_maintenance:pay-1": {"ServiceID": "pay-1", "Status": "critical"}}
    first, second = sent(replace(PAY, port=9), {**checks_of(), **maintenance})
    assert first.startswith("/v1/agent/check/deregister/alive")
    assert "replace-existing-checks" not in second


def test_former_checks_go_in_maintenance_mode_too() -> None:
    """A check that is not defined any more would decide about the instance later."""
    maintenance = {"_service_maintenance:pay-1": {"ServiceID": "pay-1", "Status": "critical"}}
    others = {"theirs": {"ServiceID": "pay-2", "Status": "passing"}}
    first, second = sent(PAY, {**checks_of("former"), **checks_of(), **maintenance, **others})
    assert first.startswith("/v1/agent/check/deregister/former")
    assert second.startswith("/v1/agent/service/register")
    assert "replace-existing-checks" not in second


@pytest.mark.parametrize(
    ("ttl", "kind", "counts"),
    [(True, "ttl", True), (True, "http", False), (False, "http", True), (False, "ttl", False)],
)
def test_probe_check_of_the_other_kind_does_not_count(ttl: bool, kind: str, counts: bool) -> None:
    """An agent that runs the check itself takes no heartbeats: it is registered again."""
    payload = RegistrationPayload(PROBED, ttl=ttl)
    assert check_ids_as_defined(checks_of(PROBE, kind=kind), payload) == (
        {PROBE} if counts else set()
    )


@pytest.mark.parametrize(
    ("checks", "fed"),
    [
        (checks_of(PROBE, kind="ttl", output="KATO and its store answer"), True),
        (checks_of(PROBE, kind="ttl", output="TTL expired (last output before timeout…)"), False),
        (checks_of(PROBE), False),
        ({}, False),
    ],
)
def test_registrar_that_runs_is_seen_by_its_heartbeats(checks: Checks, fed: bool) -> None:
    """A TTL check that has not expired is fed by a registrar."""
    assert is_fed(checks, "pay-1") is fed


# --- the former registration ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "built", "lost"),
    [
        ({"Output": HTTP_OUTPUT}, {"http": "http://10.0.0.5:8001/health"}, "only the target"),
        (
            {"Output": 'Get "http://10.0.0.5:8001/health": dial tcp 10.0.0.5:8001: refused'},
            {"http": "http://10.0.0.5:8001/health"},
            "only the target",
        ),
        (
            {"Type": "tcp", "Output": "dial tcp 10.0.0.5:8001: connect: connection refused"},
            {"tcp": "10.0.0.5:8001"},
            "only the target",
        ),
        (
            {"Type": "grpc", "Output": "gRPC check 10.0.0.5:50051: success", "Interval": "3s"},
            {"grpc": "10.0.0.5:50051", "interval": "3s"},
            "only the target",
        ),
        ({"Type": "ttl", "Output": "fine"}, {"ttl": "90s"}, "the TTL"),
        ({"Output": ""}, {"tcp": "10.0.0.5:8001", "interval": "10s"}, "connects to the instance"),
    ],
)
def test_check_is_built_from_what_the_agent_returns(
    check: dict[str, Any], built: dict[str, str], lost: str
) -> None:
    """Of a replaced check, the target is in its last output; the rest is stated as lost."""
    checks = checks_of()
    checks["alive"].update(check)
    now = RegistrationPayload(replace(PAY, port=9, check=CheckDefinition(id="new")))
    former = former_registration(listed(PAY)["pay-1"], checks, now)
    (found,) = former.checks()
    assert built.items() <= found.items()
    assert found["CheckID"] == "alive"
    assert lost in former.lost[0]
    assert (former.name, former.address, former.port) == ("pay", "10.0.0.5", 8001)


def test_check_that_was_not_changed_is_known() -> None:
    """If only the port was changed, the check is registered as it is defined."""
    now = RegistrationPayload(replace(PAY, port=9))
    former = former_registration(listed(PAY)["pay-1"], checks_of(), now)
    assert former.checks() == now.checks()
    assert former.lost == ()


# --- two registrars -------------------------------------------------------------------------


def test_contest_makes_repairs_rare() -> None:
    """Two changes are repaired at once; each further one waits twice as long, up to half a minute.
    After two quiet minutes, it is over."""
    contest, now, repaired = Contest(), 1_000.0, []
    while now < 1_130.0:  # the other registrar changes it each second
        if contest.repair_allowed(now):
            contest.record_repair(now)
            repaired.append(now - 1_000.0)
        now += 1.0
    assert repaired == [0.0, 1.0, 5.0, 13.0, 29.0, 59.0, 89.0, 119.0]
    contest.reported = "port"
    assert contest.repair_allowed(now + 120.0)
    assert (contest.repairs, contest.reported) == (0, "")


def test_difference_is_described_by_what_causes_it() -> None:
    """The port is named; that the checks differ, too, is not. The registrars' own metadata is no
    difference."""
    theirs = listed(replace(PAY, port=9, tags=("b",), meta={"registrar": "x"}))
    what = describe_differences(RegistrationPayload(PAY), theirs, set(), ["registrar"])
    assert what == "port 9 there, 8001 here, tags ['b'] there, none here"
    same = listed(PAY)
    what = describe_differences(RegistrationPayload(PAY), same, set(), [])
    assert what == "checks none there, ['alive'] here"
