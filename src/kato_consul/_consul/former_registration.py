"""Former registration: what an agent had for an instance, in the form in which it accepts it.

An agent returns a service as it was registered, but of its checks only the results. What a check
connects to is in the output of its last run; its interval is returned since Consul 1.10; its
headers, timeout and thresholds are not returned. So each check is built from what is known, and
what is not known is stated.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kato_consul._consul.registration_payload import RegistrationPayload, check_target
from kato_consul._consul.snapshot_decoder import SERVICE_MAINTENANCE

DEFAULT_INTERVAL = "10s"
"""The interval of a check whose own is not known."""

UNKNOWN_TTL = "90s"
"""The TTL of a check whose own is not known: longer than a registrar's usual ones, so that its
heartbeats are in time."""

TARGET_IN_OUTPUT = {
    "http": (
        re.compile(r"HTTP [A-Z]+ (\S+): "),
        re.compile(r'[A-Z][a-z]+ "?(https?://[^\s"]+?)"?: '),
    ),
    "tcp": (re.compile(r"TCP connect (\S+): "), re.compile(r"dial tcp (\S+): ")),
    "grpc": (re.compile(r"gRPC check (\S+): "),),
}
"""Where each kind of check names its target, when it passes and when it fails."""


@dataclass(frozen=True)
class FormerRegistration:
    """A service as an agent returned it, with the checks that could be built.

    ``lost`` describes what is not as it was.
    """

    id: str
    name: str
    record: Mapping[str, Any]
    own_checks: tuple[dict[str, Any], ...]
    lost: tuple[str, ...]

    @property
    def address(self) -> str:
        """The service's own address; "" if it has none."""
        return self.record.get("Address") or ""

    @property
    def port(self) -> int:
        """The service's port."""
        return self.record.get("Port") or 0

    def checks(self) -> list[dict[str, Any]]:
        """Return the checks as the agent accepts them."""
        return list(self.own_checks)

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments as `RegistrationPayload.keywords` does."""
        record = self.record
        weights = record.get("Weights") or {}
        tagged = record.get("TaggedAddresses") or {}
        first, *others = self.own_checks or (None,)
        return {
            "address": self.address,
            "port": self.port,
            "tags": record.get("Tags") or [],
            "meta": record.get("Meta") or {},
            "weights": {
                "passing": weights.get("Passing", 1),
                "warning": weights.get("Warning", 1),
            },
            "tagged_addresses": {
                name: {"address": one.get("Address", ""), "port": one.get("Port", 0)}
                for name, one in tagged.items()
            },
            "enable_tag_override": bool(record.get("EnableTagOverride")),
            "kind": record.get("Kind") or None,
            "proxy": record.get("Proxy") or None,
            "connect": record.get("Connect") or None,
            "check": first,
            "extra_checks": others,
        }


def former_registration(
    record: Mapping[str, Any], checks: Mapping[str, Mapping[str, Any]], payload: RegistrationPayload
) -> FormerRegistration:
    """Return what the agent had before ``payload`` was registered.

    ``record`` is the service, and ``checks`` are all checks, that the agent returned then.
    """
    service_id = payload.id
    defined = {check["CheckID"]: check for check in payload.checks()}
    built, lost = [], []
    for check_id, before in sorted(checks.items()):
        if before.get("ServiceID") != service_id or check_id.startswith(SERVICE_MAINTENANCE):
            continue
        kind, interval = before.get("Type") or "", before.get("Interval")
        target = _target(kind, before.get("Output") or "")
        known = defined.get(check_id)
        defined_target = None if known is None else check_target(known, kind)
        if defined_target and (target == defined_target or kind not in TARGET_IN_OUTPUT):
            built.append(defined[check_id])  # the check itself was not changed
            continue
        common = {"CheckID": check_id, "name": before.get("Name") or check_id}
        if notes := before.get("Notes"):
            common["notes"] = notes
        if kind == "ttl":
            built.append({**common, "ttl": UNKNOWN_TTL})
            lost.append(f"the TTL of check {check_id!r} is not known: {UNKNOWN_TTL}")
            continue
        common["interval"] = interval or DEFAULT_INTERVAL
        if target:
            built.append({**common, kind: target})
            lost.append(
                f"of check {check_id!r} only the target is known: {target}, "
                f"every {common['interval']} now"
            )
        else:
            host = record.get("Address") or "127.0.0.1"
            address = f"[{host}]" if ":" in host else host
            built.append({**common, "tcp": f"{address}:{record.get('Port')}"})
            lost.append(f"check {check_id!r} is not known: it connects to the instance by TCP")
    if payload.definition.sidecar_id is not None:
        lost.append("its sidecar is not put back")
    name = record.get("Service") or payload.name
    return FormerRegistration(service_id, name, record, tuple(built), tuple(lost))


def _target(kind: str, output: str) -> str:
    """Return what a check connected to; "" if its output does not name it."""
    for pattern in TARGET_IN_OUTPUT.get(kind, ()):
        if found := pattern.match(output):
            return found[1]
    return ""
