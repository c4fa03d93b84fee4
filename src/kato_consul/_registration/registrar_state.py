"""What a registrar looks after, and knows of each: state that its flows share, and no more.

One flow writes each value, the others read it (see `Cell`): the prober its verdict and what it
learned, the guardian what was removed. Nothing here asks or waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kato_consul._consul.registration_payload import Entry
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._observable import Cell
from kato_consul.models import Health

OWNER = "registrar"
"""The metadata key that says whose an instance is, so that only its own are pruned."""


@dataclass(frozen=True)
class Verdict:
    """How an instance is: what its check in Consul is to show. The note is the one of the moment
    when the status began, and does not change while the status does not."""

    status: Health
    note: str


@dataclass
class Tended:
    """One instance that is looked after."""

    definition: ServiceDefinition
    verdict: Cell[Verdict | None] = field(default_factory=lambda: Cell(None))
    learned: Mapping[str, str] = field(default_factory=dict)
    registered: bool = False
    """This registrar has put it in once: what is missing now was lost."""
    resting: bool = False
    """It is in maintenance mode: nobody sends it anything, and neither do we."""
    gone: bool = False
    """Nobody looks after it any more: its flows end."""


class Tending:
    """All instances of one registrar.

    ``staying``: somebody stays to feed the checks. ``when_ready``: one that was not put in yet is
    put in when its probe first says that it works. ``owner`` marks its instances; None marks none,
    and then none is pruned. ``wake`` is shown a new value whenever the guardian shall look at once.
    """

    def __init__(
        self, definitions: Sequence[ServiceDefinition], *, owner: str | None = None
    ) -> None:
        self.staying = False
        self.when_ready = False
        self.owner = owner
        self.tended = {one.id: Tended(one) for one in definitions}
        self.wake: Cell[int] = Cell(0)
        self.over = False
        self.leaving: list[str] = []
        """Ids that are no longer wanted, and still have to be taken out."""

    def entry(self, one: Tended) -> Entry:
        """The instance, as it is to stand in the agent by now."""
        owner = {OWNER: self.owner} if self.owner else {}
        verdict = one.verdict.current
        return Entry(
            one.definition,
            staying=self.staying,
            meta={**owner, **one.learned},
            status=verdict.status if verdict else None,
        )

    def awaited(self, one: Tended) -> bool:
        """Is it too early to put the instance in?"""
        verdict = one.verdict.current
        early = verdict is None or verdict.status is Health.CRITICAL
        return self.when_ready and not one.registered and one.definition.probe is not None and early

    def look_now(self) -> None:
        """Let the guardian look at once."""
        self.wake.show(self.wake.current + 1)

    def replace(self, definitions: Iterable[ServiceDefinition]) -> list[Tended]:
        """Look after these from now on; those that are new or changed, whose flows have to begin.

        Whoever is not among them any more is on ``leaving``.
        """
        wanted = {one.id: one for one in definitions}
        new = []
        for service_id, definition in wanted.items():
            before = self.tended.get(service_id)
            if before is not None and before.definition == definition:
                continue
            if before is not None:
                self._let_go(before)
            one = Tended(definition)
            new.append(one)
            self.tended = {**self.tended, service_id: one}
        for service_id in set(self.tended) - set(wanted):
            self._let_go(self.tended[service_id])
            self.leaving.append(service_id)
        self.tended = {key: one for key, one in self.tended.items() if key in wanted}
        self.look_now()
        return new

    def end(self) -> None:
        """Let every flow end."""
        self.over = True
        for one in self.tended.values():
            self._let_go(one)
        self.look_now()

    @staticmethod
    def _let_go(one: Tended) -> None:
        one.gone = True
        one.verdict.show(None)
