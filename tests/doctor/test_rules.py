"""The rules of doctor: the facts that produce each finding, and those that do not."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul._doctor.facts import (
    DeploymentFacts,
    DirectoryFacts,
    InstanceFacts,
    RegistrationFacts,
)
from kato_consul._doctor.findings import MAX_SKEW, Severity
from kato_consul._doctor.rules import apply_rules
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
    registration=RegistrationFacts(node_alive=True, checks=1),
)
OTHER = replace(GOOD, instance=instance("kato-2"))
FACTS = DeploymentFacts(
    "kato", 4.0, leader="10.0.0.1:8300", skew=-0.3, allowed={"w": True}, instances=(GOOD, OTHER)
)


def registered(**changed: Any) -> dict[str, Any]:
    """Return the changes to facts for a registration that differs from a healthy one in these."""
    return {"registration": replace(GOOD.registration, **changed)}


CPU, MEMORY = ("High CPU usage",), ("High memory usage",)


def names(facts: DeploymentFacts) -> list[str]:
    """The names of the findings."""
    return [finding.name for finding in apply_rules(facts)]


def test_healthy_pool_has_no_findings() -> None:
    """Two instances that work as one pool: no findings."""
    assert apply_rules(FACTS) == ()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"leader": ""}, ["consul.no-leader"]),
        ({"leader": "", "failing": {"reading": "500"}, "instances": None}, ["consul.no-leader"]),
        ({"failing": {"reading": "500"}, "instances": None}, ["consul.failing"]),
        ({"unreachable": "refused", "leader": "", "instances": None}, ["consul.unreachable"]),
        ({"skew": MAX_SKEW + 1}, ["consul.clock"]),
        ({"skew": -MAX_SKEW}, []),
        ({"skew": None}, []),
        ({"denied": {"reading": "403"}}, ["token.denied"]),
        ({"allowed": {"service:write": False}}, ["token.cannot-register"]),
        ({"allowed": {"service:read": False}}, ["token.cannot-read"]),
        ({"allowed": {"node:read": False}}, []),
        ({"allowed": {"node:read": False}, "instances": ()}, ["token.cannot-read"]),
        ({"allowed": {"service:read": False}, "instances": ()}, ["token.cannot-read"]),
        ({"allowed": {"service:read": True}, "instances": ()}, ["pool.empty"]),
        ({"filtered": True}, ["token.cannot-read"]),
        ({"filtered": True, "allowed": {"service:read": False}}, ["token.cannot-read"]),
        ({"allowed": {}}, ["token.unknown"]),
        ({"instances": ()}, ["pool.empty"]),
        ({"instances": (GOOD,)}, ["pool.single"]),
        (
            {"instances": (GOOD, replace(OTHER, proxy=True, version="1", base_processor_id="b"))},
            ["instance.proxy"],
        ),
        ({"unreadable": ("kato-3: Expected `int`",)}, ["pool.unreadable"]),
        ({"directory": DirectoryFacts("Redis", sessions=3)}, []),
        ({"directory": DirectoryFacts("Redis", error="no answer")}, ["directory.unavailable"]),
        ({"directory": DirectoryFacts("Redis", error="403", denied=True)}, ["directory.denied"]),
        ({"directory": DirectoryFacts("Redis", evicts="allkeys-lru")}, ["directory.evicts"]),
        ({"directory": DirectoryFacts("Redis", sessions=3, left=1)}, ["directory.left"]),
    ],
)
def test_findings_about_consul_and_pool(changed: dict[str, Any], found: list[str]) -> None:
    """Facts about Consul, the token or the pool produce these findings."""
    assert names(replace(FACTS, **changed)) == found


@pytest.mark.parametrize(
    ("health", "changed", "found"),
    [
        (Health.PASSING, {"store_status": 500}, ["check.false-passing"]),
        (Health.PASSING, {"store_status": None}, ["check.false-passing"]),
        (Health.CRITICAL, {"store_status": 500}, ["instance.store"]),
        (Health.WARNING, {"store_status": 500}, ["instance.store"]),
        (Health.CRITICAL, {}, ["check.false-critical"]),
        (Health.CRITICAL, {"health": "unhealthy"}, ["instance.unhealthy"]),
        (Health.WARNING, {"health": "degraded"}, ["instance.unhealthy"]),
        (Health.PASSING, {"health": "unhealthy"}, ["check.false-passing"]),
        (Health.PASSING, {"health": "degraded", "issues": CPU}, ["instance.busy"]),
        (Health.WARNING, {"health": "degraded", "issues": CPU}, ["instance.busy"]),
        (Health.PASSING, {"health": "unhealthy", "issues": MEMORY}, ["instance.busy"]),
        (Health.PASSING, {"health": "healthy", "issues": CPU}, []),
        (
            Health.CRITICAL,
            {"health": "degraded", "issues": CPU},
            ["check.false-critical", "instance.busy"],
        ),
        (
            Health.PASSING,
            {"health": "degraded", "issues": CPU, "store_status": 500},
            ["check.false-passing", "instance.busy"],
        ),
        (
            Health.WARNING,
            {"health": "degraded", "issues": (*CPU, "High error rate")},
            ["instance.unhealthy"],
        ),
        (
            Health.PASSING,
            {"health": "unhealthy", "issues": (*MEMORY, "other")},
            ["check.false-passing"],
        ),
        (Health.PASSING, {"unreachable": "no answer", "hung": True}, ["instance.hung"]),
        (Health.CRITICAL, {"unreachable": "no answer", "hung": True}, ["instance.hung"]),
        (Health.PASSING, {"unreachable": "refused"}, ["instance.unreachable"]),
        (Health.CRITICAL, {"unreachable": "refused"}, ["instance.stale"]),
        (
            Health.CRITICAL,
            {"unreachable": "no TLS connection", "untrusted": True},
            ["instance.unreachable"],
        ),
        (Health.PASSING, {"health": None}, ["instance.not-kato"]),
        (Health.PASSING, {"health": None, "refused": "401: no key"}, ["instance.refused"]),
        (Health.MAINTENANCE, {}, ["instance.maintenance"]),
        (Health.PASSING, {"workers": 4}, ["instance.workers"]),
        (Health.PASSING, {"workers": None}, []),
        (Health.PASSING, {"proxy": True}, ["instance.proxy"]),
        (Health.PASSING, {"proxy": True, "health": "unhealthy", "workers": 3}, ["instance.proxy"]),
        (
            Health.PASSING,
            {"proxy": True, "store_status": 503},
            ["instance.store", "instance.proxy"],
        ),
        (Health.PASSING, {"proxy": True, "skew": 60.0}, ["instance.clock", "instance.proxy"]),
        (
            Health.PASSING,
            {"proxy": True, "closes_idle": True},
            ["instance.keepalive", "instance.proxy"],
        ),
        (
            Health.PASSING,
            {"proxy": True, "gateway": "nginx/1.22.1"},
            ["instance.proxy", "instance.gateway"],
        ),
        (Health.PASSING, {"closes_idle": True}, ["instance.keepalive"]),
        (Health.PASSING, {"gateway": "nginx/1.22.1"}, ["instance.gateway"]),
        (
            Health.PASSING,
            {"gateway": "envoy", "repeats_posts": True},
            ["instance.gateway-repeats"],
        ),
        (Health.PASSING, {"closes_idle": None}, []),
        (Health.PASSING, {"skew": -60.0}, ["instance.clock"]),
        (Health.PASSING, registered(no_address=True), ["instance.no-address"]),
        (Health.PASSING, registered(checks=0), ["check.none"]),
        (Health.PASSING, registered(checks=None), []),
        (Health.PASSING, registered(node_alive=None), []),
        (Health.CRITICAL, registered(node_alive=False), ["instance.dead-node"]),
        (Health.CRITICAL, registered(node_alive=False, checks=0), ["instance.dead-node"]),
        (
            Health.CRITICAL,
            {**registered(node_alive=False), "unreachable": "refused"},
            ["instance.dead-node"],
        ),
        (
            Health.CRITICAL,
            {**registered(node_alive=None, checks=0), "unreachable": "refused"},
            ["check.none", "instance.stale"],
        ),
        (Health.CRITICAL, registered(expired=("kato-probe:kato-3",)), ["check.expired"]),
        (Health.CRITICAL, registered(expired=("mine",)), ["check.expired"]),
        (
            Health.CRITICAL,
            {**registered(expired=("mine",)), "unreachable": "refused"},
            ["instance.stale"],
        ),
        (Health.PASSING, registered(registrars=("a", "b")), ["instance.flapping"]),
        (Health.PASSING, registered(registrars=("",), checks=0), ["instance.flapping"]),
        (Health.PASSING, {"version": "3.9.0"}, ["pool.version"]),
        (Health.PASSING, {"version": None}, []),
        (Health.PASSING, {"base_processor_id": "kato-8001"}, ["pool.knowledge"]),
    ],
)
def test_findings_about_an_instance(
    health: Health, changed: dict[str, Any], found: list[str]
) -> None:
    """One of three instances has a problem: the finding names it, and not the others."""
    odd = replace(GOOD, instance=instance("kato-3", health), **changed)
    findings = apply_rules(replace(FACTS, instances=(GOOD, OTHER, odd)))
    assert [one.name for one in findings] == found
    assert all("kato-3" in (one.where + one.what) for one in findings)
    assert all(one.todo for one in findings)


@pytest.mark.parametrize(
    ("registration", "severity"), [({}, Severity.NOTE), ({"probed": True}, Severity.WARNING)]
)
def test_service_that_is_not_kato(registration: dict[str, Any], severity: Severity) -> None:
    """It is no problem, unless it was registered as KATO: only its registration was checked."""
    nothing: dict[str, Any] = {
        "health": None,
        "store_status": None,
        "version": None,
        "base_processor_id": None,
    }
    pool = [
        replace(one, **nothing, workers=None, **registered(**registration)) for one in (GOOD, OTHER)
    ]
    findings = apply_rules(replace(FACTS, instances=tuple(pool)))
    assert [(one.name, one.severity) for one in findings] == [("instance.not-kato", severity)] * 2
    assert all("Only its registration was checked" in one.what for one in findings)


def test_invalid_address_is_the_only_finding_about_its_instance() -> None:
    """An address that clients cannot use is an error; that there is no response is due to it."""
    bad = replace(GOOD, instance=instance("kato-3", address="http://10.0.0.5"), unreachable="bad")
    (finding,) = apply_rules(replace(FACTS, instances=(GOOD, OTHER, bad)))
    assert (finding.name, finding.where) == ("instance.address", "kato-3")
    assert "'http://10.0.0.5'" in finding.what
    only = replace(FACTS, instances=(replace(bad, unreachable=""),))
    assert names(only) == ["pool.none-usable", "instance.address"]


def test_findings_name_the_issue_and_what_to_do() -> None:
    """The issue that KATO reports is in the text, and what to do with a hung instance."""
    busy = replace(GOOD, health="degraded", issues=CPU)
    sick = replace(OTHER, health="degraded", issues=("High error rate",))
    hung = replace(GOOD, instance=instance("kato-3"), unreachable="no answer", hung=True)
    texts = {
        one.name: f"{one.what}; {one.todo}"
        for one in apply_rules(replace(FACTS, instances=(busy, sick, hung)))
    }
    assert "degraded: High CPU usage" in texts["instance.busy"]
    assert "degraded: High error rate" in texts["instance.unhealthy"]
    assert "hung: it accepts connections and does not answer" in texts["instance.hung"]
    assert "restart it" in texts["instance.hung"]


def test_no_usable_instance() -> None:
    """Without a usable instance, the pool has a finding as well as each instance."""
    critical = replace(GOOD, instance=instance("kato-1", Health.CRITICAL), store_status=500)
    findings = apply_rules(replace(FACTS, service="orders", instances=(critical,)))
    assert [one.name for one in findings] == ["pool.none-usable", "instance.store"]
    assert "'kato-consul instances --service orders'" in findings[0].todo


def test_a_client_token_has_no_problem() -> None:
    """That a token may not register is a note: clients need not."""
    (finding,) = apply_rules(replace(FACTS, allowed={"service:write": False}))
    assert finding.severity is Severity.NOTE


@pytest.mark.parametrize(
    ("registration", "todo"),
    [
        (
            {"owner": "h:/k.toml", "reporting": True},
            ["its registrar (h:/k.toml) still runs", "'exec' starts it"],
        ),
        ({}, ["'kato-consul deregister kato-3' with the agent of its node, box"]),
        ({"node_alive": None}, ["'kato-consul deregister kato-3 --node box'"]),
        ({"node_alive": False}, ["'kato-consul deregister kato-3 --node box', with any agent"]),
    ],
)
def test_instance_that_does_not_respond(registration: dict[str, Any], todo: list[str]) -> None:
    """What to do depends on what would register it again: nothing, an agent or a registrar."""
    listed = replace(instance("kato-3", Health.CRITICAL), node="box")
    gone = replace(GOOD, instance=listed, unreachable="refused", **registered(**registration))
    (finding,) = apply_rules(replace(FACTS, instances=(GOOD, OTHER, gone)))
    for text in todo:
        assert text in finding.todo


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"store_status": 500}, ["instance.store"]),
        ({"health": "unhealthy"}, ["instance.unhealthy"]),
        ({"unreachable": "refused"}, ["instance.unreachable"]),
        ({"unreachable": "no answer", "hung": True}, ["instance.hung"]),
    ],
)
def test_static_list_without_consul(changed: dict[str, Any], found: list[str]) -> None:
    """There is no Consul to check, which is a note; instances are checked, and no finding claims
    what Consul reports about them."""
    odd = replace(OTHER, **changed)
    facts = DeploymentFacts("kato", 4.0, uses_consul=False, instances=(GOOD, odd))
    findings = apply_rules(facts)
    assert [one.name for one in findings] == [*found, "consul.none"]
    assert all("Consul reports" not in one.what for one in findings)


@pytest.mark.parametrize("health", [Health.PASSING, Health.CRITICAL])
def test_certificate_that_is_not_trusted(health: Health) -> None:
    """The CA is missing here. That is no reason to deregister the instance."""
    odd = replace(GOOD, instance=instance("kato-3", health), unreachable="no TLS", untrusted=True)
    (finding,) = apply_rules(replace(FACTS, instances=(GOOD, OTHER, odd)))
    assert "KATO_CACERT" in finding.todo
    assert "deregister" not in finding.todo


@pytest.mark.parametrize(
    ("uses_consul", "gateway", "severity", "behind"),
    [
        (True, "", Severity.WARNING, "a gateway"),
        (True, "nginx/1.22.1", Severity.NOTE, "the gateway (nginx/1.22.1)"),
        (False, "", Severity.NOTE, "a gateway"),
        (False, "envoy", Severity.NOTE, "the gateway (envoy)"),
    ],
)
def test_several_processes_at_one_address(
    uses_consul: bool, gateway: str, severity: Severity, behind: str
) -> None:
    """They may be instances behind a gateway, or workers of one instance: both are named, and it is
    a warning only where an instance was registered as one and no gateway is seen."""
    odd = replace(GOOD, workers=2, gateway=gateway)
    facts = replace(FACTS, uses_consul=uses_consul, instances=(odd, OTHER))
    found = {one.name: one for one in apply_rules(facts)}["instance.workers"]
    assert found.severity is severity
    assert f"either they are several instances behind {behind}, " in found.what.lower()
    assert "or one instance has several worker processes" in found.what
    assert "check that it chooses the instance by the session's id" in found.todo
    assert "run one worker process per instance" in found.todo


@pytest.mark.parametrize(
    ("uses_consul", "changed", "what", "todo"),
    [
        (True, {}, "there is no failover", "register a second one"),
        (True, {"gateway": "envoy"}, "a gateway", "nothing, if another gateway takes over"),
        (True, {"proxy": True}, "a proxy", "run a second one and register it"),
        (False, {"proxy": True}, "a proxy", "run a second one and add its address to KATO_URL"),
        (False, {}, "unless it is that of a gateway", "otherwise add a second one to KATO_URL"),
    ],
)
def test_single_address(uses_consul: bool, changed: dict[str, Any], what: str, todo: str) -> None:
    """Behind a gateway or a proxy there may be many instances, and what to do differs."""
    facts = replace(FACTS, uses_consul=uses_consul, instances=(replace(GOOD, **changed),))
    found = {one.name: one for one in apply_rules(facts)}["pool.single"]
    assert what in found.what
    assert todo in found.todo


@pytest.mark.parametrize(
    ("refused", "todo"),
    [
        ("401: it asks for credentials", "set KATO_API_KEY (or KATO_API_KEY_FILE)"),
        ("403: it refused", "set it for clients and for the registrar"),
    ],
)
def test_refusal_names_the_key(refused: str, todo: str) -> None:
    """If a key is what is missing."""
    odd = replace(OTHER, refused=refused, health=None, proxy=True)
    (finding,) = apply_rules(replace(FACTS, instances=(GOOD, odd)))
    assert finding.name == "instance.refused"
    assert todo in finding.todo


def test_findings_name_the_registrars() -> None:
    """A mistake in a definition is corrected where it was made."""
    flapping = replace(GOOD, **registered(registrars=("a:/1.toml", "b:/2.toml")))
    odd = replace(instance("kato-2", address="a..b"), node="box")
    bad = replace(OTHER, instance=odd, **registered(owner="c:/3.toml"))
    found = {one.name: one for one in apply_rules(replace(FACTS, instances=(flapping, bad)))}
    assert "a:/1.toml and b:/2.toml" in found["instance.flapping"].todo
    assert "its definition (c:/3.toml)" in found["instance.address"].todo
    assert "agent of node box" in found["instance.address"].todo


def test_findings_are_sorted_by_severity() -> None:
    """Errors come before warnings, and those before notes."""
    odd = replace(GOOD, store_status=500, workers=4, **registered(no_address=True))
    severities = [one.severity for one in apply_rules(replace(FACTS, instances=(odd, OTHER)))]
    assert severities == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
