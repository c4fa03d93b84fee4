"""Service definitions: an instance with its checks, as it is registered in Consul.

An object that could be created is valid: each field has a rule (`kato_consul._definitions.rules`),
and all mistakes are reported at once. `kato_consul._definitions.loader` reads definition files;
`kato_consul._consul.registration_payload` builds what is sent to the agent.
"""

from dataclasses import dataclass, field, replace

from kato_consul._definitions import rules
from kato_consul._definitions.rules import field_mistakes, ruled_field
from kato_consul.errors import DefinitionError


@dataclass(frozen=True, kw_only=True)
class CheckDefinition:
    """A plain check: Consul's agent itself checks an instance, by ``http`` or by ``tcp``.

    With neither of them, the agent requests ``/health`` at the service's own address. Times are Go
    durations longer than 0s, such as ``10s``, ``1m30s`` or ``500ms``. The fields are Consul's, see
    https://developer.hashicorp.com/consul/api-docs/agent/check.

    Attributes:
        http: URL (``http://`` or ``https://``) that must return a 2xx status.
        tcp: ``host:port``, or ``[address]:port`` for IPv6, that must accept a connection. Not
            together with ``http``.
        interval: time from one check to the next; default ``10s``.
        timeout: time that one check may take; default ``5s``.
        id: id of the check; by default the agent's own: ``service:<service id>``, with
            ``:<number>`` behind it when the service has several plain checks.
        name: name that Consul shows; by default the agent chooses one.
        notes: text for people that Consul shows; default none.
        status: status before the first check: ``passing``, ``warning`` or ``critical``. By default
            the agent starts with ``critical``.
        method: HTTP method; the agent's default is GET.
        body: body of the HTTP request; default none. It may hold a secret, so ``repr`` omits it.
        header: HTTP headers, each with a list of values; default none. They may hold secrets, so
            ``repr`` omits them.
        tls_skip_verify: do not verify the certificate of an ``https://`` URL; default False.
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
    interval: str = ruled_field(rules.duration, default="10s")
    timeout: str = ruled_field(rules.duration, default="5s")
    id: str | None = None
    name: str | None = None
    notes: str | None = None
    status: str | None = ruled_field(rules.check_status, default=None)
    method: str | None = None
    body: str | None = field(default=None, repr=False)
    header: dict[str, list[str]] = field(default_factory=dict, repr=False)
    tls_skip_verify: bool = False
    success_before_passing: int = ruled_field(rules.not_negative, default=0)
    failures_before_critical: int = ruled_field(rules.not_negative, default=0)
    deregister_critical_service_after: str | None = ruled_field(rules.reap_after, default=None)

    def __post_init__(self) -> None:
        mistakes = [*field_mistakes(self)]
        if self.http is not None and self.tcp is not None:
            mistakes.append("give http or tcp, not both")
        if mistakes:
            raise DefinitionError(mistakes)


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
        name: name of the service, which clients look up; not empty.
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
        weights: share of the traffic; see `Weights`.
        tagged_addresses: further addresses by their tag, such as ``wan``; see `TaggedAddress`.
            Default none.
        check: one plain check; see `CheckDefinition`. Default none.
        checks: several plain checks, beside ``check``; default none.
        probe: the registrar's probe; see `ProbeDefinition`.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    name: str = ruled_field(rules.not_empty)
    port: int = ruled_field(rules.port)
    id: str = ""
    address: str = ruled_field(rules.host, default="")
    tags: tuple[str, ...] = ruled_field(rules.list_of_strings, default=())
    meta: dict[str, str] = field(default_factory=dict, metadata={"rule": rules.metadata})
    zone: str = ""
    weights: Weights = field(default_factory=Weights)
    tagged_addresses: dict[str, TaggedAddress] = field(default_factory=dict)
    check: CheckDefinition | None = None
    checks: tuple[CheckDefinition, ...] = ()
    probe: ProbeDefinition | None = None

    def __post_init__(self) -> None:
        mistakes = [*field_mistakes(self)]
        if self.zone and self.meta.get("zone", self.zone) != self.zone:
            mistakes.append("zone: meta has a different zone")
        if mistakes:
            raise DefinitionError(mistakes)
        if not self.id:
            object.__setattr__(self, "id", f"{self.name}-{self.port}")
        if self.check is not None:
            object.__setattr__(self, "check", self._with_target(self.check))
        object.__setattr__(self, "checks", tuple(map(self._with_target, self.checks)))
        if self.probe is None and not self.plain_checks:
            object.__setattr__(self, "probe", ProbeDefinition())

    @property
    def plain_checks(self) -> tuple[CheckDefinition, ...]:
        """All checks that the agent runs itself: ``check`` and ``checks``."""
        return (() if self.check is None else (self.check,)) + self.checks

    @property
    def origin(self) -> str:
        """URL at which the registrar reaches the instance; without an address, on ``localhost``."""
        host = f"[{self.address}]" if ":" in self.address else self.address or "localhost"
        return f"http://{host}:{self.port}"

    def _with_target(self, check: CheckDefinition) -> CheckDefinition:
        if check.http is None and check.tcp is None:
            return replace(check, http=f"{self.origin}/health")
        return check
