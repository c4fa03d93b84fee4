"""Services and checks, as they are to stand in Consul and as py-consul's register call takes them.

A definition that was made is a good one: each field has its rule, all mistakes are told at once.
How people write definitions in files is in `kato_consul.registry.reading`.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlsplit

import consul

from kato_consul.errors import DefinitionError
from kato_consul.registry import durations

SHORTEST_REAP = 60.0
"""Seconds. Consul takes a shorter ``deregister_critical_service_after`` for this without a word
(its documented minimum is 1 m), so a shorter one would promise what is not kept."""


def _no_rule(value: Any) -> str | None:
    return None


def _duration(value: str | None) -> str | None:
    try:
        if value is not None and not durations.seconds(value) > 0:
            return "must be longer than nothing"
    except ValueError as error:
        return str(error)
    return None


def _reap(value: str | None) -> str | None:
    mistake = _duration(value)
    if mistake is None and value is not None and durations.seconds(value) < SHORTEST_REAP:
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


def _not_negative(value: int) -> str | None:
    return None if value >= 0 else f"{value} must not be below 0"


def _rule(rule: Callable[[Any], str | None], **given: Any) -> Any:
    return field(metadata={"rule": rule}, **given)


@dataclass(frozen=True, kw_only=True)
class CheckDefinition:
    """How Consul finds out about an instance's health: by ``http`` or by ``tcp``.

    ``http`` is a URL that must answer 2xx, ``tcp`` a ``host:port`` that must take a connection;
    with neither, it is ``/health`` on the service's own address. Times are Go durations: ``10s``.

    Raises:
        DefinitionError: with every mistake.
    """

    http: str | None = _rule(_url, default=None)
    tcp: str | None = _rule(_host_and_port, default=None)
    interval: str = _rule(_duration, default="10s")
    timeout: str = _rule(_duration, default="5s")
    name: str | None = None
    success_before_passing: int = _rule(_not_negative, default=0)
    failures_before_critical: int = _rule(_not_negative, default=0)
    deregister_critical_service_after: str | None = _rule(_reap, default=None)

    def __post_init__(self) -> None:
        mistakes = [*mistakes_in(self)]
        if self.http is not None and self.tcp is not None:
            mistakes.append("give http or tcp, not both")
        if mistakes:
            raise DefinitionError(mistakes)

    def payload(self) -> dict[str, Any]:
        """The check as the agent takes it."""
        after = self.deregister_critical_service_after
        made: dict[str, Any]
        if self.http is not None:
            made = consul.Check.http(self.http, self.interval, self.timeout, after)
        else:
            host, _, port = str(self.tcp).rpartition(":")
            made = consul.Check.tcp(host, int(port), self.interval, self.timeout, after)
        # What py-consul's makers have no parameter for.
        if self.name:
            made["name"] = self.name
        if self.success_before_passing:
            made["SuccessBeforePassing"] = self.success_before_passing
        if self.failures_before_critical:
            made["FailuresBeforeCritical"] = self.failures_before_critical
        return made


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition:
    """One instance of a service, as it is to stand in Consul.

    ``id`` is ``name-port`` unless given. Without an ``address``, clients are sent to that of the
    agent's node.

    Raises:
        DefinitionError: with every mistake.
    """

    name: str = _rule(_not_empty)
    port: int = _rule(_port)
    id: str = ""
    address: str = _rule(_host, default="")
    tags: tuple[str, ...] = _rule(_texts, default=())
    meta: dict[str, str] = field(default_factory=dict)
    check: CheckDefinition = field(default_factory=CheckDefinition)

    def __post_init__(self) -> None:
        if mistakes := [*mistakes_in(self)]:
            raise DefinitionError(mistakes)
        if not self.id:
            object.__setattr__(self, "id", f"{self.name}-{self.port}")
        if self.check.http is None and self.check.tcp is None:
            host = f"[{self.address}]" if ":" in self.address else self.address or "localhost"
            url = f"http://{host}:{self.port}/health"
            object.__setattr__(self, "check", replace(self.check, http=url))

    def fields(self) -> Mapping[str, Any]:
        """Keywords for py-consul's ``agent.service.register``, beside name and id."""
        return {
            "address": self.address,
            "port": self.port,
            "tags": list(self.tags),
            "meta": dict(self.meta),
            "check": self.check.payload(),
        }


def mistakes_in(definition: CheckDefinition | ServiceDefinition) -> Iterator[str]:
    """Each field whose value breaks its rule, with the reason."""
    for one in fields(definition):
        if mistake := mistake_in(one.metadata, getattr(definition, one.name)):
            yield f"{one.name}: {mistake}"


def mistake_in(metadata: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with a field's value by the field's own rule."""
    rule: Callable[[Any], str | None] = metadata.get("rule", _no_rule)
    return rule(value)
