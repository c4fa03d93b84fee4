"""Service definitions: an instance with its checks, as it is registered in Consul.

An object that could be created is valid: each field has a rule (`kato_consul._definitions.rules`),
and all mistakes are reported at once. `kato_consul._definitions.loader` reads definition files;
`kato_consul._consul.registration_payload` builds what is sent to the agent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kato_consul._definitions import rules
from kato_consul._definitions.check_definition import CheckDefinition
from kato_consul._definitions.connect_definition import SIDECAR_SUFFIX, ConnectDefinition
from kato_consul._definitions.rules import field_mistakes, ruled_field
from kato_consul.errors import DefinitionError

__all__ = [
    "CheckDefinition",
    "ProbeDefinition",
    "ServiceDefinition",
    "TaggedAddress",
    "Weights",
    "probe_check_id",
]


@dataclass(frozen=True, kw_only=True)
class ProbeDefinition:
    """The probe of a KATO instance: the registrar itself checks the instance and its store.

    What a probe requests, and which result means which status, is in docs/registrar.md. Times are
    Go durations longer than 0s, such as ``5s`` or ``500ms``.

    Attributes:
        interval: time from one probe to the next; default ``5s``.
        timeout: time that each answer may take; default ``5s``.
        slow: an answer that takes longer is a warning; default ``1s``.
        agree: number of equal results that change the status: among the last ``of`` results for a
            worse status, in a row for a better one. More than half of ``of``, and at most ``of``;
            default 2.
        of: number of the last results that are counted, 1 or more; default 3.
        warn_on_load: True: an instance is in warning while KATO reports that its machine is busy
            (CPU above 80 %, memory above 90 %). False, the default: it stays passing, and the
            check's output has the issue.
        deregister_critical_service_after: time in critical after which the agent deregisters the
            instance, ``1m`` or more (Consul's minimum,
            https://developer.hashicorp.com/consul/api-docs/agent/check). Default None: ``30m``
            while a registrar runs, never after a startup job.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    interval: str = ruled_field(rules.duration, default="5s")
    timeout: str = ruled_field(rules.duration, default="5s")
    slow: str = ruled_field(rules.duration, default="1s")
    agree: int = ruled_field(rules.above_zero, default=2)
    of: int = ruled_field(rules.above_zero, default=3)
    warn_on_load: bool = False
    deregister_critical_service_after: str | None = ruled_field(rules.reap_after, default=None)

    def __post_init__(self) -> None:
        mistakes = [*field_mistakes(self)]
        if not mistakes and not self.of / 2 < self.agree <= self.of:
            mistakes.append(f"agree: {self.agree} must be a majority of the last {self.of}")
        if mistakes:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """An instance's share of the traffic, relative to the other instances.

    The ranges are Consul's (``structs.ValidateWeights``).

    Attributes:
        passing: weight while it is passing, 1 to 65535; default 1, as Consul's.
        warning: weight while it is in warning, 0 to 65535; default 1, as Consul's.

    Raises:
        DefinitionError: one or more values are out of range; it holds every mistake.
    """

    passing: int = ruled_field(rules.passing_weight, default=1)
    warning: int = ruled_field(rules.warning_weight, default=1)

    def __post_init__(self) -> None:
        if mistakes := [*field_mistakes(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class TaggedAddress:
    """Another address of an instance, such as the one tagged ``wan``.

    Attributes:
        address: host name or IP address, without scheme, port, path and brackets.
        port: 1 to 65535; default 0: the service's own port.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    address: str = ruled_field(rules.non_empty_host)
    port: int = ruled_field(rules.port_or_zero, default=0)

    def __post_init__(self) -> None:
        if mistakes := [*field_mistakes(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """One instance of a service, as it is registered in Consul.

    The registrar runs the ``probe``, which checks KATO and its store; Consul's agent runs plain
    checks (``check`` and ``checks``). An instance may have both. With none of them it gets a
    default `ProbeDefinition`.

    Attributes:
        name: name of the service, which clients look up; not empty. As ids, without control
            characters, a slash at its start, ``//``, and ``.`` or ``..`` between slashes.
        port: port that clients connect to, 1 to 65535.
        id: id of the instance, unique on its agent; default ``name-port``.
        address: host name or IP address that clients connect to, without scheme, port, path and
            brackets; not an address to listen on such as ``0.0.0.0``. Default: the address of the
            agent's node.
        tags: Consul's tags; default none.
        meta: Consul's metadata; default none. At most 64 pairs; keys of 1 to 128 letters, digits,
            ``-`` and ``_``; values of at most 512 characters (``agent/structs`` of Consul).
        zone: zone of the instance; default none. It is written to the metadata as ``zone``, where
            clients read it, so ``meta`` must not have another one.
        scheme: ``https`` if clients connect to it over https, ``http`` if they do not; default
            none, which means http. Written to the metadata as ``scheme``, as ``zone`` is.
        path: put before the path of each request, such as ``/kato`` at a gateway; default none.
            Without a slash at its end. Written to the metadata as ``path``, as ``zone`` is.
        weights: share of the traffic; see `Weights`.
        tagged_addresses: further addresses by their tag, such as ``wan``; see `TaggedAddress`.
            Default none.
        connect: how the instance takes part in Consul's service mesh; see `ConnectDefinition`.
            Default: not at all.
        check: one plain check; see `CheckDefinition`. Default none.
        checks: several plain checks, beside ``check``; default none.
        probe: the registrar's probe; see `ProbeDefinition`.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    name: str = ruled_field(rules.service_name)
    port: int = ruled_field(rules.port)
    id: str = ruled_field(rules.unset_or_name_in_paths, default="")
    address: str = ruled_field(rules.host, default="")
    tags: tuple[str, ...] = ruled_field(rules.list_of_strings, default=())
    meta: dict[str, str] = field(default_factory=dict, metadata={"rule": rules.metadata})
    zone: str = ""
    scheme: str = ruled_field(rules.scheme, default="")
    path: str = ruled_field(rules.path_prefix, default="")
    weights: Weights = field(default_factory=Weights)
    tagged_addresses: dict[str, TaggedAddress] = field(default_factory=dict)
    connect: ConnectDefinition | None = None
    check: CheckDefinition | None = None
    checks: tuple[CheckDefinition, ...] = ()
    probe: ProbeDefinition | None = None

    def __post_init__(self) -> None:
        mistakes = [*field_mistakes(self)]
        for name, value in self.meta_fields.items():
            if self.meta.get(name, value) != value:
                mistakes.append(f"{name}: meta has a different {name}")
        if mistakes:
            raise DefinitionError(mistakes)
        if not self.id:
            object.__setattr__(self, "id", f"{self.name}-{self.port}")
        if self.check is not None:
            object.__setattr__(self, "check", self._with_target(self.check))
        object.__setattr__(self, "checks", tuple(map(self._with_target, self.checks)))
        if self.probe is None and not self.plain_checks:
            object.__setattr__(self, "probe", ProbeDefinition())
        if mistakes := [*self._shared_check_ids()]:
            raise DefinitionError(mistakes)

    @property
    def plain_checks(self) -> tuple[CheckDefinition, ...]:
        """All checks but the probe's: ``check`` and ``checks``."""
        return (() if self.check is None else (self.check,)) + self.checks

    @property
    def plain_check_ids(self) -> tuple[str, ...]:
        """The ids of `plain_checks`: their own, or those that the agent generates."""
        checks = self.plain_checks
        generated = f"service:{self.id}"
        return tuple(
            check.id or (f"{generated}:{number}" if len(checks) > 1 else generated)
            for number, check in enumerate(checks, 1)
        )

    @property
    def check_ids(self) -> tuple[str, ...]:
        """The ids of all checks that the agent has for the instance and for its sidecar."""
        return tuple(check_id for check_id, _ in self._checks_by_place())

    @property
    def sidecar_id(self) -> str | None:
        """The id of the sidecar that the agent registers beside the instance; None: no sidecar."""
        if self.connect is None or self.connect.sidecar_service is None:
            return None
        return f"{self.id}{SIDECAR_SUFFIX}"

    @property
    def meta_fields(self) -> dict[str, str]:
        """The fields that are written to the metadata under their own names."""
        fields = {"zone": self.zone, "scheme": self.scheme, "path": self.path}
        return {name: value for name, value in fields.items() if value}

    @property
    def origin(self) -> str:
        """URL at which the registrar reaches the instance; without an address, on ``localhost``."""
        host = f"[{self.address}]" if ":" in self.address else self.address or "localhost"
        scheme = self.scheme or self.meta.get("scheme", "http")
        path = self.path or self.meta.get("path", "").rstrip("/")
        return f"{scheme}://{host}:{self.port}{path}"

    def _checks_by_place(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each check, and its place in the definition."""
        if self.probe is not None:
            yield probe_check_id(self.id), "probe"
        places = [] if self.check is None else ["check"]
        places += [f"checks {number}" for number in range(1, len(self.checks) + 1)]
        yield from zip(self.plain_check_ids, places, strict=True)
        if self.sidecar_id is not None:
            for number in (1, 2):  # the agent's own
                yield f"service:{self.sidecar_id}:{number}", "sidecar_service"

    def _shared_check_ids(self) -> Iterator[str]:
        places: dict[str, list[str]] = {}
        for check_id, place in self._checks_by_place():
            places.setdefault(check_id, []).append(place)
        for check_id, shared in places.items():
            if len(shared) > 1:
                yield (
                    f"the check id {check_id!r} is used by {' and by '.join(shared)}: "
                    f"give each check its own id"
                )

    def _with_target(self, check: CheckDefinition) -> CheckDefinition:
        return check if check.kinds else replace(check, http=f"{self.origin}/health")


def probe_check_id(service_id: str) -> str:
    """Return the id of the check that holds the probe's status."""
    return f"kato-probe:{service_id}"


def require_definitions(definitions: Any) -> tuple[ServiceDefinition, ...]:
    """Return the definitions that a caller has made in code.

    Raises:
        DefinitionError: it is not a list of definitions.
    """
    needed = "Give a list of ServiceDefinition objects; read_definitions reads them from a file"
    if isinstance(definitions, str | bytes | Mapping) or not isinstance(definitions, Iterable):
        kind = type(definitions).__name__
        raise DefinitionError([f"the definitions are no list, but {kind}. {needed}"])
    checked = tuple(definitions)
    mistakes = [
        f"definition {number} is no ServiceDefinition, but {type(one).__name__}. {needed}"
        for number, one in enumerate(checked, 1)
        if not isinstance(one, ServiceDefinition)
    ]
    if mistakes:
        raise DefinitionError(mistakes)
    return checked
