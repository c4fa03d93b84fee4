"""What is known of a deployment, before anybody judges it: values, and no opinion."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kato_consul.models import Instance


@dataclass(frozen=True)
class InstanceFacts:
    """What one instance said, asked from here. None is what it did not say.

    ``unreachable`` is why there was no answer, or empty. ``store_status`` is the HTTP status of a
    call that needs the store. ``workers`` are the processes that were seen, so there may be more.
    ``skew`` are seconds that its clock is ahead of ours.
    ``closes_idle``: it closed a connection that was idle for as long as a client keeps one.
    ``no_address``: it is registered without one, so that clients are sent to the node's.
    """

    instance: Instance
    unreachable: str = ""
    health: str | None = None
    store_status: int | None = None
    version: str | None = None
    base_processor_id: str | None = None
    workers: int | None = None
    skew: float | None = None
    closes_idle: bool | None = None
    no_address: bool = False


@dataclass(frozen=True)
class Facts:
    """What Consul said, and each instance.

    ``unreachable`` is why there was no answer from Consul at all, or empty. ``failing`` maps what
    it could not answer to its words. ``leader`` is empty when there is none, None when it did not
    tell. ``instances`` is None when it did not tell who there is.
    ``denied`` maps what the token may not do to Consul's words; ``allowed`` what the ACL system was
    asked about, to its answer (empty when it does not tell).
    """

    service: str
    keepalive: float
    unreachable: str = ""
    leader: str | None = None
    skew: float | None = None
    failing: Mapping[str, str] = field(default_factory=dict)
    denied: Mapping[str, str] = field(default_factory=dict)
    allowed: Mapping[str, bool] = field(default_factory=dict)
    instances: tuple[InstanceFacts, ...] | None = None
