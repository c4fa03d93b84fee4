"""Models: instances, snapshots of all instances of a service, entries of a session directory.

A `Snapshot` is an immutable value. A new one replaces the old one as a whole, so readers never lock
(go-kit's endpoint cache works the same way).
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from kato_consul._addresses import DEFAULT_PORTS, is_ip_address, is_path_prefix


class Health(StrEnum):
    """The health of an instance: Consul's worst status of its checks, or maintenance mode.

    Consul represents maintenance mode as a critical check with a reserved id. It means "draining",
    not "failed", so it is a status of its own here.
    """

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


class Source(StrEnum):
    """Where a snapshot comes from: Consul, a snapshot that an earlier run saved to disk, or the
    static list in the settings (``kato_urls``)."""

    CONSUL = "consul"
    DISK = "disk"
    STATIC = "static"


USABLE_HEALTH = (Health.PASSING, Health.WARNING)
"""The health of instances that requests are sent to, in the order of preference."""

_HOST_NAME = re.compile(r"(?!.{254})[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
"""A host name (RFC 1123). Underscores are not in the standard, but in names of containers."""


@dataclass(frozen=True)
class Instance:
    """One registered instance of a service.

    Attributes:
        id: Consul's service id. The id, not the address, is the identity of an instance. It is
            unique within one agent.
        service: The service's name.
        address: Host name or IP address. For a service without an address it is the node's
            (Consul's rule).
        port: TCP port.
        health: The worst status of its checks.
        node: The name of the agent's node.
        datacenter: The node's datacenter.
        tags: The service's tags.
        meta: The service's metadata.
        weight: Consul's weight for the instance's health, 0 or more.
        output: The output of the worst check, for messages; empty while all checks pass, except
            for what the registrar's probe reports of a busy machine.
        uid: Unique within a snapshot: the id, or ``id@node`` if two agents have the same id.
        scheme: ``http`` or ``https``: ``scheme`` in its metadata, else that of its URL or of the
            setting ``kato_scheme``.
        path: Put before the path of each request, such as ``/kato`` at a gateway, or empty:
            ``path`` in its metadata, else that of its URL or of the setting ``kato_path``.
    """

    id: str
    service: str
    address: str
    port: int
    health: Health = Health.PASSING
    node: str = ""
    datacenter: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    weight: int = 1
    output: str = field(default="", compare=False)
    uid: str = ""
    scheme: str = "http"
    path: str = ""

    def __post_init__(self) -> None:
        if not self.uid:
            object.__setattr__(self, "uid", self.id)

    @property
    def zone(self) -> str:
        """Its zone: ``zone`` in its metadata, or empty. Clients prefer instances of their own
        zone."""
        return self.meta.get("zone", "")

    @cached_property
    def address_error(self) -> str:
        """Why no request can be sent to it: its address, port, scheme or path is invalid. Empty if
        they are valid.

        Consul accepts any text and any number. Such an instance is listed, and never used.
        """
        if not 0 < self.port < 65_536:
            return f"its port is {self.port}, which is not from 1 to 65535"
        if not (is_host_name(self.address) or is_ip_address(self.address)):
            return f"its address is {self.address!r}, which is not a host name or an IP address"
        if self.scheme not in DEFAULT_PORTS:
            return f"its metadata has the scheme {self.scheme!r}, which is not http or https"
        if not is_path_prefix(self.path):
            return f"its metadata has the path {self.path!r}, which is not like /kato"
        return ""

    @cached_property
    def usable(self) -> bool:
        """True if it is healthy: it is passing or has a warning, and its address can be used."""
        return self.health in USABLE_HEALTH and not self.address_error

    @cached_property
    def netloc(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )

    @cached_property
    def origin(self) -> str:
        """Where its requests go: ``http://host:port`` or ``https://host:port``, with its path."""
        return f"{self.scheme}://{self.netloc}{self.path}"


@dataclass(frozen=True)
class Snapshot:
    """All instances of one service at one moment.

    Two snapshots are equal if a client would treat them alike: ``index`` and ``source`` are not
    compared.

    Attributes:
        service: The service's name.
        instances: All instances, in any health, sorted by id.
        index: Consul's index of the response (``X-Consul-Index``); 0 if there is none.
        source: Where the snapshot comes from.
        use_critical: True: if no instance is healthy, the critical ones are used
            (``Settings.when_all_critical``).
        unreadable: The entries of Consul's answer that could not be read, each with the reason.
        filtered: True if Consul reports that it left out what the token may not read. Versions
            before 1.11 leave it out without reporting it.
    """

    service: str
    instances: tuple[Instance, ...]
    index: int = field(default=0, compare=False)
    source: Source = field(default=Source.CONSUL, compare=False)
    use_critical: bool = False
    unreadable: tuple[str, ...] = ()
    filtered: bool = False

    @cached_property
    def healthy(self) -> tuple[Instance, ...]:
        """The instances that are passing, then those with a warning; only those with an address
        that can be used."""
        return tuple(
            instance
            for health in USABLE_HEALTH
            for instance in self.instances
            if instance.health is health and not instance.address_error
        )

    @cached_property
    def usable(self) -> tuple[Instance, ...]:
        """The instances to send requests to: those that are healthy; or all critical ones, if none
        is healthy and ``use_critical`` is set."""
        return self.healthy or tuple(filter(self._is_last_resort, self.instances))

    def uses(self, instance: Instance) -> bool:
        """Return whether requests are sent to an instance of this snapshot."""
        return instance.usable or (not self.healthy and self._is_last_resort(instance))

    def _is_last_resort(self, instance: Instance) -> bool:
        critical = instance.health is Health.CRITICAL
        return self.use_critical and critical and not instance.address_error

    @cached_property
    def by_uid(self) -> Mapping[str, Instance]:
        """All instances by uid."""
        return {instance.uid: instance for instance in self.instances}

    @cached_property
    def all_passing(self) -> bool:
        """True if all usable instances are passing."""
        return all(instance.health is Health.PASSING for instance in self.usable)

    def summary(self) -> str:
        """Return one line such as ``3 instances: 2 passing, 1 critical``."""
        unreadable = f"; {len(self.unreadable)} cannot be read" if self.unreadable else ""
        if not self.instances:
            return f"no instances{unreadable}"
        counts = [(h.value, sum(i.health is h for i in self.instances)) for h in Health]
        unusable = sum(bool(one.address_error) for one in self.instances)
        counts.append(("with an unusable address", unusable))
        parts = ", ".join(f"{n} {what}" for what, n in counts if n)
        noun = "instance" if len(self.instances) == 1 else "instances"
        return f"{len(self.instances)} {noun}: {parts}{unreadable}"


def is_host_name(address: str) -> bool:
    """Return whether a request can be sent to this host, as far as its name shows."""
    return _HOST_NAME.fullmatch(address) is not None


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a message in a log, such as a topic of Kafka.

    Attributes:
        log: The log's name, not empty. If a log is deleted and made again under the same name, use
            another one, such as the topic's id: its positions begin anew.
        partition: The number of the partition, 0 or more.
        offset: The message's number in the partition, 0 or more. Later messages have higher ones.
    """

    log: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """What a session directory has of one session. It has no content of observations.

    Attributes:
        key: The key that callers use.
        id: KATO's id of the session; None before it is opened, and after it was deleted.
        owner: The process that owned it when this was read, ``host:pid``; None if none did.
        last_owner: The process that owned it last, ``host:pid``.
        released: True if that process has handed it over, so that the next owner goes on in the
            same KATO session. False while it is owned, and if its owner died: then the next owner
            takes it over, which opens another KATO session.
        epoch: How often the session was acquired, by all processes together.
        node_id: KATO's knowledge base.
        aliases: Earlier ids of KATO's, newest first.
        time: KATO's counter of observations, when the entry was written.
        events: The number of events in the short-term memory, when the entry was written.
        ttl: Seconds that KATO keeps the session after its last write; None for KATO's default.
        written_at: Unix time when an owner wrote the entry last: when it opened the session, took
            it over or handed it over, and at least in each half of the TTL while it is used. Not
            for each call. None before the first time.
        expires_at: Unix time after which the entry is removed if no process owns the session; None
            before it is written.
    """

    key: str
    id: str | None
    owner: str | None
    last_owner: str
    released: bool
    epoch: int
    node_id: str
    aliases: tuple[str, ...]
    time: int
    events: int
    ttl: int | None
    written_at: float | None
    expires_at: float | None

    @property
    def age(self) -> float | None:
        """Seconds since the entry was written, by this machine's clock; None before that."""
        return None if self.written_at is None else max(0.0, time.time() - self.written_at)
