"""How a definition stands in Consul: what is sent to the agent, and whether the agent has it so.

A probed instance has a check of ours. While somebody stays to feed it, it is a TTL check. A startup
job leaves nobody behind, so there the agent itself asks the cheapest call that needs KATO's store:
``GET /sessions/<any id>/exists`` answers 200 when the store does, and 500 when it does not, while
``/health`` stays green. Both have the same id, so that one takes over from the other without a flap
(the agent keeps the state of a check that is registered again).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import consul

from kato_consul._definitions.schema import CheckDefinition, ProbeDefinition, ServiceDefinition
from kato_consul._durations import parse_duration
from kato_consul.models import Health

PROBE_NAME = "KATO and its store"

STORE_PROBE_PATH = "/sessions/kato-consul-probe/exists"

TTL_INTERVALS = 3
"""A report may be late or lost twice before the agent gives up on us."""

DEFAULT_REAP_AFTER = "30m"
"""When nobody says otherwise: after that long critical the agent takes a probed instance out, so
that a crash of the whole machine leaves no ghost for good. Whoever stays puts a live one back."""


def probe_check_id(service_id: str) -> str:
    """The id of the check that our probe feeds."""
    return f"kato-probe:{service_id}"


@dataclass(frozen=True)
class RegistrationPayload:
    """One definition, as it is to stand in the agent.

    ``staying``: somebody feeds the probe's check, and ``status`` is what it is to show at first.
    ``meta`` is added to the definition's own.
    """

    definition: ServiceDefinition
    ttl: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)
    status: Health | None = None

    @property
    def id(self) -> str:
        """Consul's service id."""
        return self.definition.id

    def keywords(self) -> dict[str, Any]:
        """Keywords for py-consul's ``agent.service.register``, beside name and id."""
        one = self.definition
        first, *others = self._checks()
        return {
            "address": one.address,
            "port": one.port,
            "tags": list(one.tags),
            "meta": self._all_meta(),
            "weights": {"passing": one.weights.passing, "warning": one.weights.warning},
            "tagged_addresses": {
                name: {"address": tagged.address, "port": tagged.port or one.port}
                for name, tagged in one.tagged_addresses.items()
            },
            "check": first,
            "extra_checks": others,
        }

    def matches(
        self,
        there: Mapping[str, Any] | None,
        checks: Collection[str],
        *,
        but_for: Collection[str] = (),
    ) -> bool:
        """Has the agent this entry, as it is, with all its checks?

        ``there`` is what ``/v1/agent/services`` says of it, ``checks`` are the ids of its checks.
        Keys of the metadata that are in ``but_for`` do not count.
        """
        if there is None:
            return False
        one = self.definition
        tagged = {
            name: (tagged.address, tagged.port or one.port)
            for name, tagged in one.tagged_addresses.items()
        }
        weights = there.get("Weights") or {}
        return (
            one.name == there.get("Service")
            and one.address == (there.get("Address") or "")
            and one.port == there.get("Port")
            and list(one.tags) == (there.get("Tags") or [])
            and _without(but_for, self._all_meta()) == _without(but_for, there.get("Meta") or {})
            and one.weights.passing == weights.get("Passing", 1)
            and one.weights.warning == weights.get("Warning", 1)
            and tagged.items() <= _tagged(there).items()
            and {check["CheckID"] for check in self._checks()} <= set(checks)
        )

    def _all_meta(self) -> dict[str, str]:
        zone = {"zone": self.definition.zone} if self.definition.zone else {}
        return {**self.meta, **self.definition.meta, **zone}

    def _checks(self) -> list[dict[str, Any]]:
        one = self.definition
        made = [] if one.probe is None else [self._probe_check(one.probe)]
        for number, check in enumerate(one.plain_checks, 1):
            # As the agent names those that have no name: said here, to know it later.
            name = f"service:{self.id}" + (f":{number}" if len(one.plain_checks) > 1 else "")
            made.append({"CheckID": name, **check_payload(check)})
        return made

    def _probe_check(self, probe: ProbeDefinition) -> dict[str, Any]:
        if self.ttl:
            return _ttl_payload(self.id, probe, self.status or Health.CRITICAL)
        check = CheckDefinition(
            id=probe_check_id(self.id),
            name=PROBE_NAME,
            http=f"{self.definition.origin}{STORE_PROBE_PATH}",
            interval=probe.interval,
            timeout=probe.timeout,
            deregister_critical_service_after=probe.deregister_critical_service_after,
        )
        return check_payload(check)


def check_payload(check: CheckDefinition) -> dict[str, Any]:
    """A plain check, as the agent takes it."""
    after = check.deregister_critical_service_after
    made: dict[str, Any]
    if check.http is not None:
        made = consul.Check.http(check.http, check.interval, check.timeout, after)
    else:
        host, _, port = str(check.tcp).rpartition(":")
        made = consul.Check.tcp(host, int(port), check.interval, check.timeout, after)
    # What py-consul's makers have no parameter for.
    for name, value in (
        ("CheckID", check.id),
        ("name", check.name),
        ("notes", check.notes),
        ("status", check.status),
        ("method", check.method),
        ("body", check.body),
        ("header", {key: list(values) for key, values in check.header.items()}),
        ("tls_skip_verify", check.tls_skip_verify),
        ("SuccessBeforePassing", check.success_before_passing),
        ("FailuresBeforeCritical", check.failures_before_critical),
    ):
        if value:
            made[name] = value
    return made


def _ttl_payload(service_id: str, probe: ProbeDefinition, status: Health) -> dict[str, Any]:
    seconds = TTL_INTERVALS * parse_duration(probe.interval)
    made: dict[str, Any] = consul.Check.ttl(f"{round(seconds * 1000)}ms")
    made["CheckID"] = probe_check_id(service_id)
    made["name"] = PROBE_NAME
    made["status"] = status.value
    made["DeregisterCriticalServiceAfter"] = (
        probe.deregister_critical_service_after or DEFAULT_REAP_AFTER
    )
    return made


def _without(keys: Collection[str], meta: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in meta.items() if key not in keys}


def _tagged(there: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    # The agent adds its own lan and wan addresses of a service to what it was given.
    found = there.get("TaggedAddresses") or {}
    return {name: (one.get("Address", ""), one.get("Port", 0)) for name, one in found.items()}
