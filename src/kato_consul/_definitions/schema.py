"""Services and checks, as people want them to stand in Consul.

A definition that was made is a good one: each field has its rule, all mistakes are told at once.
Definition files are read by `kato_consul._definitions.loader`; what the agent is sent is built by
`kato_consul._consul.registration_payload`.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kato_consul import _durations as durations
from kato_consul.errors import DefinitionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SHORTEST_REAP = 60.0
"""Seconds. Consul takes a shorter ``deregister_critical_service_after`` for this without a word
(its documented minimum is 1 m), so a shorter one would promise what is not kept."""


def _no_rule(value: Any) -> str | None:
    return None


def _duration(value: str | None) -> str | None:
    try:
        if value is not None and not durations.parse_duration(value) > 0:
            return "must be longer than nothing"
    except ValueError as error:
        return str(error)
    return None


def _reap(value: str | None) -> str | None:
    mistake = _duration(value)
    if mistake is None and value is not None and durations.parse_duration(value) < SHORTEST_REAP:
        return f"{value!r} is shorter than Consul's minimum of 1m"
    return mistake


def _port(value: Any) -> str | None:
    good = type(value) is int and 0 < value < 65536
    return None if good else f"{value!r} is no port: a number from 1 to 65535"


def _texts(value: Any) -> str | None:
    return f"{value!r} is one text: write a list" if isinstance(value, str) else None


def _not_empty(value: str) -> str | None:
    return None if value.strip() else "must not be empty"


def _host(value: str) -> str | None:
    try:
        if value and ipaddress.ip_address(value).is_unspecified:
            return f"{value} is where a server listens, not where clients reach it"
    except ValueError:  # a name, then
        if any(sign in value for sign in "/ ?#:[]"):
            return f"{value!r} is no host name or address: no scheme, port, path or brackets here"
    return None


def _url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    return None if good else f"{value!r} is no http:// or https:// URL"


def _host_and_port(value: str | None) -> str | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    good = host and not bare and port.isdecimal() and 0 < int(port) < 65536
    return None if good else f"{value!r} is not host:port, or [address]:port for IPv6"


def _meta(value: dict[str, str]) -> str | None:
    if len(value) > 64:
        return f"{len(value)} entries are more than the 64 that Consul takes"
    for key, text in value.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key):
            return f"{key!r} is no key that Consul takes: letters, digits, - and _, 128 at most"
        if len(text) > 512:
            return f"{key}: {len(text)} signs are more than the 512 that Consul takes"
    return None


def _not_negative(value: int) -> str | None:
    return None if value >= 0 else f"{value} must not be below 0"


def _weight(value: int) -> str | None:
    # Consul's own limits (structs.ValidateWeights).
    return None if 0 < value < 65536 else f"{value} is no weight: a number from 1 to 65535"


def _warning_weight(value: int) -> str | None:
    return None if 0 <= value < 65536 else f"{value} is no weight: a number from 0 to 65535"


def _first_status(value: str | None) -> str | None:
    good = value in (None, "passing", "warning", "critical")
    return None if good else f"{value!r} is no status: passing, warning or critical"


def _above_zero(value: int) -> str | None:
    return None if value > 0 else f"{value} must be above 0"


def _reachable_host(value: str) -> str | None:
    return _not_empty(value) or _host(value)


def _port_or_none(value: Any) -> str | None:
    return None if value == 0 else _port(value)


def _rule(rule: Callable[[Any], str | None], *, shown: bool = False, **given: Any) -> Any:
    """``shown``: Consul repeats it in the check's output, which is no place for a secret."""
    return field(metadata={"rule": rule, "shown": shown}, **given)


@dataclass(frozen=True, kw_only=True)
class CheckDefinition:
    """How Consul finds out about an instance's health: by ``http`` or by ``tcp``.

    ``http`` is a URL that must answer 2xx, ``tcp`` a ``host:port`` that must take a connection;
    with neither, it is ``/health`` on the service's own address. Times are Go durations: ``10s``.
    ``status`` is what it shows before its first look: critical unless given.

    Raises:
        DefinitionError: with every mistake.
    """

    http: str | None = _rule(_url, shown=True, default=None)
    tcp: str | None = _rule(_host_and_port, shown=True, default=None)
    interval: str = _rule(_duration, default="10s")
    timeout: str = _rule(_duration, default="5s")
    id: str | None = None
    name: str | None = None
    notes: str | None = None
    status: str | None = _rule(_first_status, default=None)
    method: str | None = None
    body: str | None = field(default=None, repr=False)  # may hold a secret, as the next
    header: dict[str, list[str]] = field(default_factory=dict, repr=False)
    tls_skip_verify: bool = False
    success_before_passing: int = _rule(_not_negative, default=0)
    failures_before_critical: int = _rule(_not_negative, default=0)
    deregister_critical_service_after: str | None = _rule(_reap, default=None)

    def __post_init__(self) -> None:
        mistakes = [*mistakes_in(self)]
        if self.http is not None and self.tcp is not None:
            mistakes.append("give http or tcp, not both")
        if mistakes:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class ProbeDefinition:
    """How the registrar probes a KATO instance: `kato_consul._registration.health_probe`.

    ``interval`` from probe to probe, ``timeout`` for an answer, ``slow``: an answer that takes
    longer is a warning. A status changes when ``agree`` of the last ``of`` probes say so. Times are
    Go durations.

    Raises:
        DefinitionError: with every mistake.
    """

    interval: str = _rule(_duration, default="5s")
    timeout: str = _rule(_duration, default="5s")
    slow: str = _rule(_duration, default="1s")
    agree: int = _rule(_above_zero, default=2)
    of: int = _rule(_above_zero, default=3)
    deregister_critical_service_after: str | None = _rule(_reap, default=None)

    def __post_init__(self) -> None:
        mistakes = [*mistakes_in(self)]
        if not mistakes and not self.of / 2 < self.agree <= self.of:
            mistakes.append(f"agree: {self.agree} must be a majority of the last {self.of}")
        if mistakes:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The instance's share of the traffic, while passing and while in warning; Consul's default
    is 1 each."""

    passing: int = _rule(_weight, default=1)
    warning: int = _rule(_warning_weight, default=1)

    def __post_init__(self) -> None:
        if mistakes := [*mistakes_in(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class TaggedAddress:
    """Another address of the instance, such as ``wan``; port 0 is the service's own."""

    address: str = _rule(_reachable_host)
    port: int = _rule(_port_or_none, default=0)

    def __post_init__(self) -> None:
        if mistakes := [*mistakes_in(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """One instance of a service, as it is to stand in Consul.

    ``id`` is ``name-port`` unless given. Without an ``address``, clients are sent to that of the
    agent's node. ``zone`` goes into the metadata, where clients look for it.

    Health is found out by a ``probe`` of ours, which knows KATO, by plain ``checks`` of Consul's
    (``check`` is one of them), or by both together. With none of them it is the probe.

    Raises:
        DefinitionError: with every mistake.
    """

    name: str = _rule(_not_empty)
    port: int = _rule(_port)
    id: str = ""
    address: str = _rule(_host, default="")
    tags: tuple[str, ...] = _rule(_texts, default=())
    meta: dict[str, str] = field(default_factory=dict, metadata={"rule": _meta})
    zone: str = ""
    weights: Weights = field(default_factory=Weights)
    tagged_addresses: dict[str, TaggedAddress] = field(default_factory=dict)
    check: CheckDefinition | None = None
    checks: tuple[CheckDefinition, ...] = ()
    probe: ProbeDefinition | None = None

    def __post_init__(self) -> None:
        mistakes = [*mistakes_in(self)]
        if self.zone and self.meta.get("zone", self.zone) != self.zone:
            mistakes.append("zone: meta has another zone")
        if mistakes:
            raise DefinitionError(mistakes)
        if not self.id:
            object.__setattr__(self, "id", f"{self.name}-{self.port}")
        if self.check is not None:
            object.__setattr__(self, "check", self._completed(self.check))
        object.__setattr__(self, "checks", tuple(map(self._completed, self.checks)))
        if self.probe is None and not self.plain_checks:
            object.__setattr__(self, "probe", ProbeDefinition())

    @property
    def plain_checks(self) -> tuple[CheckDefinition, ...]:
        """Consul's own checks: all that are not ours to make."""
        return (() if self.check is None else (self.check,)) + self.checks

    @property
    def origin(self) -> str:
        """Where we reach the instance ourselves; without an address it is on this machine."""
        host = f"[{self.address}]" if ":" in self.address else self.address or "localhost"
        return f"http://{host}:{self.port}"

    def _completed(self, check: CheckDefinition) -> CheckDefinition:
        if check.http is None and check.tcp is None:
            return replace(check, http=f"{self.origin}/health")
        return check


def mistakes_in(definition: "DataclassInstance") -> Iterator[str]:
    """Each field whose value breaks its rule, with the reason."""
    for one in fields(definition):
        if mistake := mistake_in(one.metadata, getattr(definition, one.name)):
            yield f"{one.name}: {mistake}"


def mistake_in(metadata: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with a field's value by the field's own rule."""
    rule: Callable[[Any], str | None] = metadata.get("rule", _no_rule)
    return rule(value)
