"""Registrar state: the managed instances and the state of each, shared by a registrar's flows.

Each value has one writer at a time and any number of readers (see `Observable`). While a registrar
runs, the prober writes health and instance info, and the reconciler writes whether an instance is
registered and in maintenance mode. Nothing here sends requests or waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._definitions.collisions import check_for_collisions
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._observable import Observable
from kato_consul._registration.contest import Contest
from kato_consul._registration.live_registrars import LiveRegistrars
from kato_consul.models import Health

OWNER_KEY = "registrar"
"""The metadata key for the name of the registrar that owns an instance. Only instances with its own
name are pruned."""


INFO_FIELDS = ("version", "base_processor_id")
"""Fields of KATO's ``/status``, and keys of the metadata."""


def added_meta(definition: ServiceDefinition) -> tuple[str, ...]:
    """Return the keys of the metadata that registrars add to a definition's own. Two registrars of
    the same definition may differ in them."""
    return tuple(key for key in (OWNER_KEY, *INFO_FIELDS) if key not in definition.meta)


def owner_of(service: Mapping[str, Any]) -> str:
    """Return the registrar that an agent's record of a service names, for people."""
    return (service.get("Meta") or {}).get(OWNER_KEY) or "another registrar"


@dataclass(frozen=True)
class HealthStatus:
    """An instance's health, as its check in Consul shows it.

    ``note`` is the reason. It changes only when several probes agree (see `Hysteresis`), and has no
    values that differ from probe to probe: each change is sent to Consul.
    ``hung``: the instance accepts connections and does not answer.
    """

    status: Health
    note: str
    hung: bool = False


@dataclass
class ManagedInstance:
    """One instance that the registrar manages."""

    definition: ServiceDefinition
    health: Observable[HealthStatus | None] = field(default_factory=lambda: Observable(None))
    info: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    """The info with which it was registered last: another registrar may publish newer info."""
    contest: Contest = field(default_factory=Contest)
    displaced: bool = False
    """True while the agent has another definition under its id: its health is not reported then."""
    registered: bool = False
    """True if this registrar has registered it. If the agent does not have it now, it lost it."""
    in_maintenance: bool = False
    """True in maintenance mode: clients send it no requests, and it is not probed."""
    hung_since: float | None = None
    """Time of the clock at which it was sent the first of the requests that it accepted and has not
    answered until now, while its status is critical; None if it is not hung."""
    removed: bool = False
    """True if it is not managed any more: its flows end."""


class RegistrarState:
    """All instances of one registrar.

    Attributes:
        long_running: True: the registrar keeps running and sends heartbeats for TTL checks. False:
            it is a startup job.
        when_ready: True: register an instance only once its probe has reported that it is usable.
        starts_with_instance: True: the registrar starts together with its instances, or before
            them. Until they accept connections they are starting, not faulty.
        owner: the name that marks this registrar's instances; None marks none, and prunes none.
        instances: the managed instances by their ids.
        reconcile_requests: changes when the reconciler must run at once.
        stopped: True if the registrar is stopping: its flows end.
        to_deregister: ids that are no longer defined and may still be in the agent.

    Raises:
        DefinitionError: definitions share the id of an instance or of a check.
    """

    def __init__(
        self,
        definitions: Sequence[ServiceDefinition],
        *,
        owner: str | None = None,
        live: LiveRegistrars | None = None,
    ) -> None:
        """``live`` are the locks that are shared with other registrars of this machine; None takes
        none."""
        check_for_collisions(definitions)
        self._live = live
        self.long_running = False
        self.when_ready = False
        self.starts_with_instance = False
        self.owner = owner
        self.instances = {one.id: ManagedInstance(one) for one in definitions}
        self.reconcile_requests: Observable[int] = Observable(0)
        self.stopped = False
        self.to_deregister: list[str] = []

    def payload(self, instance: ManagedInstance) -> RegistrationPayload:
        """Return how the instance must be registered at this moment."""
        owner = {OWNER_KEY: self.owner} if self.owner else {}
        health = instance.health.current
        return RegistrationPayload(
            instance.definition,
            ttl=self.long_running,
            meta={**owner, **instance.info},
            status=health.status if health else None,
        )

    def waits_for_health(self, instance: ManagedInstance) -> bool:
        """Return whether the instance must not be registered before its probe succeeds."""
        if not self.when_ready or instance.registered or instance.definition.probe is None:
            return False
        health = instance.health.current
        return health is None or health.status is Health.CRITICAL

    # The locks: see `LiveRegistrars`. A startup job has none.

    def join(self, service_id: str) -> bool:
        """Take part in keeping an instance registered. False: another process deregisters it."""
        return self._live is None or not self.long_running or self._live.join(service_id)

    def leave(self, service_id: str) -> bool:
        """Stop taking part. True if no other registrar keeps the instance registered."""
        return self._live is None or self._live.leave(service_id)

    def end_lock(self, service_id: str) -> None:
        """Let other registrars register an instance again that this one has left."""
        if self._live is not None:
            self._live.end(service_id)

    def end_locks(self) -> None:
        """Release all locks."""
        if self._live is not None:
            self._live.close()

    @property
    def locks_unusable(self) -> str:
        """Why it is not known whether other registrars keep the instances registered, or ""."""
        return "" if self._live is None else self._live.unusable

    def request_reconcile(self) -> None:
        """Make the reconciler run at once."""
        self.reconcile_requests.set(self.reconcile_requests.current + 1)

    def replace(self, definitions: Sequence[ServiceDefinition]) -> list[ManagedInstance]:
        """Manage these instances instead of the current ones.

        Instances that are not among them any more are added to ``to_deregister``, and so are
        sidecars: the agent removes them only together with their instances. Returns the instances
        that are new or changed: their flows must be started.

        Raises:
            DefinitionError: definitions share the id of an instance or of a check.
        """
        check_for_collisions(definitions)
        defined = {one.id: one for one in definitions}
        new = []
        for service_id, definition in defined.items():
            before = self.instances.get(service_id)
            if before is not None and before.definition == definition:
                continue
            if before is not None:
                self._remove(before)
                sidecar_id = before.definition.sidecar_id
                if sidecar_id is not None and definition.sidecar_id is None:
                    self.to_deregister.append(sidecar_id)
            instance = ManagedInstance(definition)
            new.append(instance)
            self.instances = {**self.instances, service_id: instance}
        for service_id in set(self.instances) - set(defined):
            self._remove(self.instances[service_id])
            self.to_deregister.append(service_id)
        self.instances = {key: one for key, one in self.instances.items() if key in defined}
        self.request_reconcile()
        return new

    def stop(self) -> None:
        """End all flows of the registrar."""
        self.stopped = True
        for instance in self.instances.values():
            self._remove(instance)
        self.request_reconcile()

    @staticmethod
    def _remove(instance: ManagedInstance) -> None:
        instance.removed = True
        instance.health.set(None)
