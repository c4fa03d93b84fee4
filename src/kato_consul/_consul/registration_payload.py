"""Registration payload: a definition as the agent accepts it, and its comparison with the agent's.

A probed instance has a check that this package defines. While a registrar runs it is a TTL check,
which the registrar renews. A startup job does not keep running; for it the check is an HTTP check
that the agent runs itself, on the cheapest call that needs KATO's store:
``GET /sessions/<any id>/exists`` returns 200 if the store responds, and 500 if it does not, while
``/health`` still returns 200. Both checks have the same id, so that one replaces the other without
a change of status in between (an agent keeps the status of a check that is registered again).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kato_consul._consul.sidecar_payload import connect_payload, sidecar_matches
from kato_consul._definitions.schema import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    probe_check_id,
)
from kato_consul._durations import parse_duration
from kato_consul.models import Health

PROBE_NAME = "KATO and its store"

STORE_PROBE_PATH = "/sessions/kato-consul-probe/exists"

TTL_INTERVALS = 3
"""The TTL in probe intervals: two heartbeats may be late or lost before the check expires."""

DEFAULT_DEREGISTER_AFTER = "30m"
"""The agent deregisters a probed instance that was critical for this long, if the definition sets
no ``deregister_critical_service_after``: a machine that crashed must not leave its instances
registered for good. A running registrar registers a live instance again."""


@dataclass(frozen=True)
class RegistrationPayload:
    """One definition as the agent has to store it.

    With ``ttl`` the probe's check is a TTL check, first registered with ``status`` (None:
    critical). ``meta`` is added to the definition's own metadata, which wins.
    """

    definition: ServiceDefinition
    ttl: bool = False
    meta: Mapping[str, str] = field(default_factory=dict)
    status: Health | None = None

    @property
    def id(self) -> str:
        """Consul's service id."""
        return self.definition.id

    @property
    def name(self) -> str:
        """The service's name."""
        return self.definition.name

    @property
    def address(self) -> str:
        """The instance's own address; "" for that of the agent's node."""
        return self.definition.address

    @property
    def port(self) -> int:
        """The instance's port."""
        return self.definition.port

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of py-consul's ``agent.service.register`` other than the
        name and the id."""
        definition = self.definition
        first, *others = self.checks()
        return {
            "address": definition.address,
            "port": definition.port,
            "tags": list(definition.tags),
            "meta": self._all_meta(),
            "weights": {
                "passing": definition.weights.passing,
                "warning": definition.weights.warning,
            },
            "tagged_addresses": {
                name: {"address": tagged.address, "port": tagged.port or definition.port}
                for name, tagged in definition.tagged_addresses.items()
            },
            "connect": connect_payload(definition),
            "check": first,
            "extra_checks": others,
        }

    def differences(
        self,
        services: Mapping[str, Mapping[str, Any]],
        check_ids: Collection[str],
        *,
        ignored_meta: Collection[str] = (),
    ) -> Iterator[tuple[str, object, object]]:
        """Yield each field that the agent stores otherwise: its name, its value here and there.

        ``services`` is the agent's ``/v1/agent/services``, which has the instance; ``check_ids``
        are the ids of its checks. Metadata keys in ``ignored_meta`` are not compared.
        """
        registered = services[self.id]
        definition = self.definition
        tagged = {
            name: (tagged.address, tagged.port or definition.port)
            for name, tagged in definition.tagged_addresses.items()
        }
        weights = registered.get("Weights") or {}
        stored_tagged = _tagged_addresses(registered)
        meta = self._all_meta()
        stored_meta = registered.get("Meta") or {}
        own_checks = {check["CheckID"] for check in self.checks()}
        for name, mine, theirs in (
            ("name", definition.name, registered.get("Service")),
            ("address", definition.address, registered.get("Address") or ""),
            ("port", definition.port, registered.get("Port")),
            ("tags", list(definition.tags), registered.get("Tags") or []),
            ("passing weight", definition.weights.passing, weights.get("Passing", 1)),
            ("warning weight", definition.weights.warning, weights.get("Warning", 1)),
            ("tagged addresses", tagged, {key: stored_tagged.get(key) for key in tagged}),
            ("checks", sorted(own_checks), sorted(own_checks & {*check_ids})),
        ):
            if mine != theirs:
                yield name, mine, theirs
        for key in sorted({*meta, *stored_meta} - {*ignored_meta}):
            if meta.get(key) != stored_meta.get(key):
                yield f"meta {key}", meta.get(key), stored_meta.get(key)
        sidecar_id = definition.sidecar_id or ""
        if not sidecar_matches(definition, services.get(sidecar_id)):
            yield "sidecar", sidecar_id, "another one" if sidecar_id in services else None

    def _all_meta(self) -> dict[str, str]:
        return {**self.meta, **self.definition.meta, **self.definition.meta_fields}

    def checks(self) -> list[dict[str, Any]]:
        """Return the checks as the agent accepts them, each with its ``CheckID``."""
        definition = self.definition
        checks = [] if definition.probe is None else [self._probe_check(definition.probe)]
        # The agent generates an id for a check without one. Setting it here makes it known.
        checks += [
            {**check_payload(check), "CheckID": check_id}
            for check, check_id in zip(
                definition.plain_checks, definition.plain_check_ids, strict=True
            )
        ]
        return checks

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


_KEYS = {"alias": ("aliasservice", "aliasnode"), "os_service": ("osservice",)}
"""What a check of a kind (the agent's name for it) looks at. For other kinds, this is the kind."""


def check_target(check: Mapping[str, Any], kind: str) -> str | None:
    """Return what a check, as the agent accepts it, looks at; None if it is of another kind.

    ``kind`` is the agent's name for it (``Type``).
    """
    given = {name.lower(): value for name, value in check.items()}
    return next((str(given[key]) for key in _KEYS.get(kind, (kind,)) if given.get(key)), None)


def check_payload(check: CheckDefinition) -> dict[str, Any]:
    """Return a plain check as the agent accepts it."""
    payload = _target_payload(check)
    # py-consul's constructors have no parameters for these.
    for name, value in (
        ("CheckID", check.id),
        ("name", check.name),
        ("notes", check.notes),
        ("status", check.status),
        ("method", check.method),
        ("body", check.body),
        ("header", {key: list(values) for key, values in check.header.items()}),
        ("tls_skip_verify", check.tls_skip_verify),
        ("TLSServerName", check.tls_server_name),
        ("TCPUseTLS", check.tcp_use_tls),
        ("GRPCUseTLS", check.grpc_use_tls),
        ("DisableRedirects", check.disable_redirects),
        ("OutputMaxSize", check.output_max_size),
        ("SuccessBeforePassing", check.success_before_passing),
        ("FailuresBeforeCritical", check.failures_before_critical),
        ("DeregisterCriticalServiceAfter", check.deregister_critical_service_after),
    ):
        if value:
            payload[name] = value
    if check.h2ping_use_tls is not None:  # False is not the agent's default
        payload["H2PingUseTLS"] = check.h2ping_use_tls
    return payload


_AGENT_NAMES = {"udp": "UDP", "grpc": "GRPC", "h2ping": "H2PING", "os_service": "OSService"}
"""The agent's names for the kinds of checks that py-consul does not have."""


def _target_payload(check: CheckDefinition) -> dict[str, Any]:
    """Return what a check does, and how often."""
    from consul import Check

    payload: dict[str, Any]
    (kind,) = check.kinds
    if kind == "http":
        payload = Check.http(check.http, check.interval, check.timeout)
    elif kind == "tcp":
        host, _, port = str(check.tcp).rpartition(":")
        payload = Check.tcp(host, int(port), check.interval, check.timeout)
    elif kind == "ttl":
        payload = Check.ttl(check.ttl)
    elif kind == "alias_service":
        targets = {"AliasService": check.alias_service, "AliasNode": check.alias_node}
        payload = {name: target for name, target in targets.items() if target}
    else:
        times = {"interval": check.interval, "timeout": check.timeout}
        payload = {_AGENT_NAMES[kind]: getattr(check, kind), **times}
    return payload


def _ttl_payload(service_id: str, probe: ProbeDefinition, status: Health) -> dict[str, Any]:
    from consul import Check

    seconds = TTL_INTERVALS * parse_duration(probe.interval)
    payload: dict[str, Any] = Check.ttl(f"{round(seconds * 1000)}ms")
    payload["CheckID"] = probe_check_id(service_id)
    payload["name"] = PROBE_NAME
    payload["status"] = status.value
    payload["DeregisterCriticalServiceAfter"] = (
        probe.deregister_critical_service_after or DEFAULT_DEREGISTER_AFTER
    )
    return payload


def _tagged_addresses(registered: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    # The agent adds the service's own lan and wan addresses to those of the registration.
    addresses = registered.get("TaggedAddresses") or {}
    return {name: (one.get("Address", ""), one.get("Port", 0)) for name, one in addresses.items()}
