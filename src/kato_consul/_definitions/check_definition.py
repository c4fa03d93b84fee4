"""Check definitions: checks that Consul's agent runs itself, or that the service reports."""

from dataclasses import dataclass, field

from kato_consul._definitions import rules
from kato_consul._definitions.rules import field_mistakes, ruled_field
from kato_consul.errors import DefinitionError

DEFAULT_INTERVAL = "10s"

CHECK_KINDS = ("http", "tcp", "udp", "grpc", "h2ping", "os_service", "ttl")
"""The fields that say what a check does. An alias check has two of its own, and may have both."""


@dataclass(frozen=True, kw_only=True)
class CheckDefinition:
    """A plain check: Consul's agent itself checks an instance, or the service reports its health.

    One of ``http``, ``tcp``, ``udp``, ``grpc``, ``h2ping``, ``os_service``, ``ttl`` and
    ``alias_service`` (with or without ``alias_node``) says what it does. With none of them, the
    agent requests ``/health`` at the service's own address. Times are Go durations longer than 0s,
    such as ``10s``, ``1m30s`` or ``500ms``. The fields are Consul's, see
    https://developer.hashicorp.com/consul/api-docs/agent/check.

    Agents refuse the fields that they do not know. Consul 1.8.7 does not know ``udp``, ``h2ping``,
    ``h2ping_use_tls``, ``tcp_use_tls``, ``os_service``, ``tls_server_name`` and
    ``disable_redirects``.

    Attributes:
        http: URL (``http://`` or ``https://``) that must return a 2xx status.
        tcp: ``host:port``, or ``[address]:port`` for IPv6, that must accept a connection.
        udp: ``host:port`` that must not refuse a datagram.
        grpc: ``host:port`` or ``host:port/service`` that must report SERVING by gRPC's health
            protocol.
        h2ping: ``host:port`` that must answer an HTTP/2 ping.
        os_service: name of a service of the agent's operating system that must run.
        ttl: the service itself must report its health to the agent within this time, again and
            again (``PUT /v1/agent/check/pass/<check id>``). The registrar does not do that.
        alias_service: id of another service, whose health is this check's health.
        alias_node: name of the node of ``alias_service``, or alone: the node whose health is this
            check's health. By default the agent's own node. Consul 1.8.7 ends with a panic if it
            has no node of this name.
        interval: time from one check to the next; default ``10s``. A ``ttl`` check has none.
        timeout: time that one check may take; default ``5s``.
        id: id of the check, unique on its agent; by default the agent's own:
            ``service:<service id>``, with ``:<number>`` behind it when the service has several
            plain checks.
        name: name that Consul shows; by default the agent chooses one.
        notes: text for people that Consul shows; default none.
        status: status before the first check: ``passing``, ``warning`` or ``critical``. By default
            the agent starts with ``critical``.
        method: HTTP method; the agent's default is GET.
        body: body of the HTTP request; default none. It may hold a secret, so ``repr`` omits it.
        header: HTTP headers, each with a list of values; default none. They may hold secrets, so
            ``repr`` omits them.
        tls_skip_verify: do not verify the certificate; default False.
        tls_server_name: name that the certificate must have; default: the host of the target.
        tcp_use_tls: use TLS for ``tcp``; default False.
        grpc_use_tls: use TLS for ``grpc``; default False.
        h2ping_use_tls: use TLS for ``h2ping``; default None: the agent uses it.
        disable_redirects: do not follow redirects of ``http``; default False.
        output_max_size: bytes of the output that the agent keeps, 1 or more; default 0: the agent's
            own limit (4096).
        success_before_passing: results in a row before the check becomes passing, 0 or more;
            default 0: the first one counts.
        failures_before_critical: results in a row before the check becomes critical, 0 or more;
            default 0: the first one counts.
        deregister_critical_service_after: time in critical after which the agent deregisters the
            instance, ``1m`` or more (Consul's minimum); default None: never.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    http: str | None = ruled_field(rules.url, shown_by_consul=True, default=None)
    tcp: str | None = ruled_field(rules.host_and_port, shown_by_consul=True, default=None)
    udp: str | None = ruled_field(rules.host_and_port, shown_by_consul=True, default=None)
    grpc: str | None = ruled_field(rules.grpc_target, shown_by_consul=True, default=None)
    h2ping: str | None = ruled_field(rules.host_and_port, shown_by_consul=True, default=None)
    os_service: str | None = ruled_field(
        rules.unset_or_not_empty, shown_by_consul=True, default=None
    )
    ttl: str | None = ruled_field(rules.duration, default=None)
    alias_service: str | None = ruled_field(
        rules.unset_or_not_empty, shown_by_consul=True, default=None
    )
    alias_node: str | None = ruled_field(
        rules.unset_or_not_empty, shown_by_consul=True, default=None
    )
    interval: str = ruled_field(rules.duration, default=DEFAULT_INTERVAL)
    timeout: str = ruled_field(rules.duration, default="5s")
    id: str | None = ruled_field(rules.unset_or_name_in_paths, default=None)
    name: str | None = None
    notes: str | None = None
    status: str | None = ruled_field(rules.check_status, default=None)
    method: str | None = None
    body: str | None = field(default=None, repr=False)
    header: dict[str, list[str]] = field(default_factory=dict, repr=False)
    tls_skip_verify: bool = False
    tls_server_name: str | None = None
    tcp_use_tls: bool = False
    grpc_use_tls: bool = False
    h2ping_use_tls: bool | None = None
    disable_redirects: bool = False
    output_max_size: int = ruled_field(rules.not_negative, default=0)
    success_before_passing: int = ruled_field(rules.not_negative, default=0)
    failures_before_critical: int = ruled_field(rules.not_negative, default=0)
    deregister_critical_service_after: str | None = ruled_field(rules.reap_after, default=None)

    def __post_init__(self) -> None:
        mistakes = [*field_mistakes(self)]
        kinds = self.kinds
        if len(kinds) == 2:
            mistakes.append(f"give {kinds[0]} or {kinds[1]}, not both")
        elif kinds[2:]:
            mistakes.append(f"give only one of {', '.join(kinds)}")
        elif self.ttl is not None and self.interval != DEFAULT_INTERVAL:
            mistakes.append("interval: a ttl check has none: leave it out")
        if mistakes:
            raise DefinitionError(mistakes)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the check does, as the names of fields: one, or none if there is no target."""
        kinds = tuple(kind for kind in CHECK_KINDS if getattr(self, kind) is not None)
        is_alias = self.alias_service is not None or self.alias_node is not None
        return (*kinds, "alias_service") if is_alias else kinds
