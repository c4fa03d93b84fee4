"""What a registrar looks after, and knows of each: state that its flows share, and no more.

Each value has one writer and any number of readers (see `Observable`): the prober writes health
and instance info, the reconciler what was removed. Nothing here asks or waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._observable import Observable
from kato_consul.models import Health

OWNER = "registrar"
"""The metadata key that says whose an instance is, so that only its own are pruned."""


@dataclass(frozen=True)
class HealthStatus:
    """How an instance is: what its check in Consul is to show. The note is the one of the moment
    when the status began, and does not change while the status does not."""

    status: Health
    note: str


@dataclass
class ManagedInstance:
    """One instance that is looked after."""

    definition: ServiceDefinition
    health: Observable[HealthStatus | None] = field(default_factory=lambda: Observable(None))
    info: Mapping[str, str] = field(default_factory=dict)
    registered: bool = False
    """This registrar has put it in once: what is missing now was lost."""
    in_maintenance: bool = False
    """It is in maintenance mode: nobody sends it anything, and neither do we."""
    removed: bool = False
    """Nobody looks after it any more: its flows end."""


class RegistrarState:
    """All instances of one registrar.

    ``staying``: somebody stays to feed the checks. ``when_ready``: one that was not put in yet is
    put in when its probe first says that it works. ``owner`` marks its instances; None marks none,
    and then none is pruned. ``wake`` is shown a new value whenever the guardian shall look at once.
    """

    def __init__(
        self, definitions: Sequence[ServiceDefinition], *, owner: str | None = None
    ) -> None:
        self.stays = False
        self.when_ready = False
        self.owner = owner
        self.instances = {one.id: ManagedInstance(one) for one in definitions}
        self.reconcile_requests: Observable[int] = Observable(0)
        self.stopped = False
        self.to_deregister: list[str] = []
        """Ids that are no longer wanted, and still have to be taken out."""

    def payload(self, one: ManagedInstance) -> RegistrationPayload:
        """The instance, as it is to stand in the agent by now."""
        owner = {OWNER: self.owner} if self.owner else {}
        verdict = one.health.current
        return RegistrationPayload(
            one.definition,
            ttl=self.stays,
            meta={**owner, **one.info},
            status=verdict.status if verdict else None,
        )

    def waits_for_health(self, one: ManagedInstance) -> bool:
        """Is it too early to put the instance in?"""
        verdict = one.health.current
        early = verdict is None or verdict.status is Health.CRITICAL
        return self.when_ready and not one.registered and one.definition.probe is not None and early

    def request_reconcile(self) -> None:
        """Let the guardian look at once."""
        self.reconcile_requests.set(self.reconcile_requests.current + 1)

    def replace(self, definitions: Iterable[ServiceDefinition]) -> list[ManagedInstance]:
        """Look after these from now on; those that are new or changed, whose flows have to begin.

        Whoever is not among them any more is on ``leaving``.
        """
        wanted = {one.id: one for one in definitions}
        new = []
        for service_id, definition in wanted.items():
            before = self.instances.get(service_id)
            if before is not None and before.definition == definition:
                continue
            if before is not None:
                self._remove(before)
            one = ManagedInstance(definition)
            new.append(one)
            self.instances = {**self.instances, service_id: one}
        for service_id in set(self.instances) - set(wanted):
            self._remove(self.instances[service_id])
            self.to_deregister.append(service_id)
        self.instances = {key: one for key, one in self.instances.items() if key in wanted}
        self.request_reconcile()
        return new

    def stop(self) -> None:
        """Let every flow end."""
        self.stopped = True
        for one in self.instances.values():
            self._remove(one)
        self.request_reconcile()

    @staticmethod
    def _remove(one: ManagedInstance) -> None:
        one.removed = True
        one.health.set(None)
