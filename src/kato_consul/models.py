"""What the rooms say to each other: instances, and whole frozen sets of them.

A `Snapshot` is a value. A new one replaces the old one whole; nobody changes one in place, so
readers never lock (go-kit's endpoint cache keeps its sets the same way).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


class Health(StrEnum):
    """The worst of an instance's checks, in Consul's words; maintenance is told apart.

    Consul shows maintenance mode as a critical check with a reserved id. It means "being drained",
    not "broken", so it is a state of its own here.
    """

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


class Source(StrEnum):
    """Where a snapshot comes from: Consul's word, a copy of it from an earlier run, or a list that
    was given in the settings."""

    CONSUL = "consul"
    DISK = "disk"
    STATIC = "static"


@dataclass(frozen=True)
class Instance:
    """One registered instance of a service.

    ``id`` is Consul's service id: it, and not the address, is the identity of an instance. Ids are
    unique within an agent only; ``uid`` is unique within a snapshot: the id, and where two agents
    have the same, ``id@node``.
    ``address`` is never empty: where the service has none, it is the node's (Consul's rule).
    ``output`` is what the worst check said, for people to read.
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

    def __post_init__(self) -> None:
        if not self.uid:
            object.__setattr__(self, "uid", self.id)

    @property
    def zone(self) -> str:
        """Where it is, for clients that ask near ones first: its metadata's ``zone``."""
        return self.meta.get("zone", "")

    @cached_property
    def netloc(self) -> str:
        """``host:port``, with the brackets that an IPv6 address needs."""
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )

    @cached_property
    def origin(self) -> str:
        """Where requests go: scheme, host and port."""
        return f"http://{self.netloc}"


@dataclass(frozen=True)
class Snapshot:
    """All instances of one service at one moment, sorted by id.

    Two snapshots are equal when a client would act on them alike: ``index`` (Consul's, of the
    answer it came from) and ``source`` do not count.
    """

    service: str
    instances: tuple[Instance, ...]
    index: int = field(default=0, compare=False)
    source: Source = field(default=Source.CONSUL, compare=False)

    @cached_property
    def usable(self) -> tuple[Instance, ...]:
        """The instances to send requests to: those passing, then those with a warning."""
        return tuple(
            one
            for health in (Health.PASSING, Health.WARNING)
            for one in self.instances
            if one.health is health
        )

    @cached_property
    def by_uid(self) -> Mapping[str, Instance]:
        """Every instance by its uid."""
        return {one.uid: one for one in self.instances}

    @cached_property
    def all_passing(self) -> bool:
        """Is everybody who is usable passing?"""
        return all(one.health is Health.PASSING for one in self.usable)

    def summary(self) -> str:
        """One line for people: ``3 instances: 2 passing, 1 critical``."""
        if not self.instances:
            return "no instances"
        counts = [(h, sum(i.health is h for i in self.instances)) for h in Health]
        parts = ", ".join(f"{n} {h}" for h, n in counts if n)
        noun = "instance" if len(self.instances) == 1 else "instances"
        return f"{len(self.instances)} {noun}: {parts}"
