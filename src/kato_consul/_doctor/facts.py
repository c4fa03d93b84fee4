"""Facts about a deployment, as collected: values without any judgement."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kato_consul.models import Instance


@dataclass(frozen=True)
class RegistrationFacts:
    """How one instance is registered.

    ``no_address``: it is registered without an address, so clients use the node's.
    ``node_alive`` is what Consul reports of its node; None: it does not check that node, which was
    only registered in the catalog.
    ``owner`` is the registrar in its metadata, or empty.
    ``checks`` is the number of its own checks, without maintenance mode; None: not reported.
    ``expired`` are the ids of its TTL checks that have expired.
    ``probed``: it has the check of KATO's probe, so it is meant to be KATO.
    ``reporting``: a registrar reports to the check of its probe.
    ``registrars`` are the owners that were seen, if the registration changed again and again while
    it was observed; an owner without a name is "".
    """

    no_address: bool = False
    node_alive: bool | None = None
    owner: str = ""
    checks: int | None = None
    expired: tuple[str, ...] = ()
    probed: bool = False
    reporting: bool = False
    registrars: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstanceFacts:
    """What one instance reported to requests from this machine. None: not reported.

    ``instance`` is the instance as Consul has it.
    ``unreachable`` is why there was no response, or empty.
    ``refused`` is why something in front of KATO refused the requests, or empty.
    ``untrusted``: there was a connection, but no TLS connection.
    ``hung``: it accepts connections and does not answer.
    ``health`` is the ``status`` of KATO's ``/health``: ``healthy``, ``degraded`` or ``unhealthy``.
    None: what answered is not KATO.
    ``issues`` are the names of KATO's reasons for it, such as ``High CPU usage``.
    ``store_status`` is the HTTP status of a request that needs KATO's store.
    ``version`` and ``base_processor_id`` are those of KATO's ``/status``.
    ``workers`` is the number of worker processes that responded; there may be more.
    ``skew`` is how many seconds its clock is ahead of this machine's.
    ``proxy``: what answers is a `kato-consul proxy`, so what else is reported may be of any of its
    instances.
    ``gateway`` is what its answers say of a gateway that they came through, or empty.
    ``repeats_posts``: that gateway sent a POST again that it had sent; None: that was not seen.
    ``closes_idle``: it closed a connection that was idle for as long as a client keeps one.
    ``registration`` is how it is registered.
    """

    instance: Instance
    unreachable: str = ""
    refused: str = ""
    untrusted: bool = False
    hung: bool = False
    health: str | None = None
    issues: tuple[str, ...] = ()
    store_status: int | None = None
    version: str | None = None
    base_processor_id: str | None = None
    workers: int | None = None
    skew: float | None = None
    proxy: bool = False
    gateway: str = ""
    repeats_posts: bool | None = None
    closes_idle: bool | None = None
    registration: RegistrationFacts = field(default_factory=RegistrationFacts)


@dataclass(frozen=True)
class DirectoryFacts:
    """What the session directory of the settings reported, and whether it can be used.

    ``name`` is what it is, and where, without credentials.
    ``error`` is why it did not serve, or empty; ``denied``: it refused for want of a permission.
    ``evicts`` is the policy by which it removes entries when it is full; empty: it never does.
    ``sessions`` is how many it has; None: not reported.
    ``left`` is how many of them no process owns, although the last owner has not released them.
    """

    name: str
    error: str = ""
    denied: bool = False
    evicts: str = ""
    sessions: int | None = None
    left: int = 0


@dataclass(frozen=True)
class DeploymentFacts:
    """What Consul and the instances of one service reported.

    ``service`` is the service's name.
    ``keepalive`` is how many seconds a client keeps an idle connection.
    ``uses_consul``: False if the instances are the static list of the settings (``KATO_URL``), and
    no Consul is set. All else is of Consul then, and not reported.
    ``unreachable`` is why there was no response from Consul at all, or empty.
    ``leader`` is the address of Consul's leader; empty: there is none; None: not reported.
    ``skew`` is how many seconds the agent's clock is ahead of this machine's; None: not reported.
    ``failing`` maps each query that Consul could not answer to its error message.
    ``denied`` maps each query that the token may not make to Consul's error message.
    ``allowed`` maps each permission that was checked, such as ``service:write``, to whether the
    token has it; empty: this Consul does not report it.
    ``instances`` is None when Consul did not list them.
    ``filtered``: Consul reports that it hides some of them from the token.
    ``unreadable`` are the entries of Consul's list that cannot be read, each with the reason.
    ``directory`` is the session directory; None: the settings name none, or Consul was unreachable.
    """

    service: str
    keepalive: float
    uses_consul: bool = True
    unreachable: str = ""
    leader: str | None = None
    skew: float | None = None
    failing: Mapping[str, str] = field(default_factory=dict)
    denied: Mapping[str, str] = field(default_factory=dict)
    allowed: Mapping[str, bool] = field(default_factory=dict)
    instances: tuple[InstanceFacts, ...] | None = None
    filtered: bool = False
    unreadable: tuple[str, ...] = ()
    directory: DirectoryFacts | None = None
