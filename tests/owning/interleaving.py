"""Interleaving of two owners of one session: the steps that the property tests have in common.

It has no assertion of its own about the session.
"""

from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from kato_consul._flow import Send
from kato_consul.errors import KatoConsulError, SessionConflict
from tests.kato.model_kato import Fault, ModelKato
from tests.kato.seeding import RUNS
from tests.owning.model_directory import ModelStore
from tests.owning.two_owners import OneOwner

FAULTS = st.lists(st.sampled_from(Fault), max_size=2)
OWNERS = st.sampled_from([0, 1])


class Interleaving(RuleBasedStateMachine):
    """Two owners with the models of KATO and of a directory. ``sent`` are requests of calls that
    were cancelled, or killed, which may still be applied."""

    def __init__(self, kato: ModelKato) -> None:
        super().__init__()
        self.kato = kato
        self.store = ModelStore(kato.clock)
        self.owners: Sequence[OneOwner] = ()
        self.sent: list[Send] = []

    def create_owners(self, keeps: bool, deletes: bool) -> None:
        """Create them. ``keeps``: entries hold the observations; ``deletes``: KATO deletes
        sessions."""
        self.owners = [
            OneOwner(name, self.kato, self.store, keeps_observations=keeps, deletes=deletes)
            for name in "AB"
        ]

    @rule(who=OWNERS, steps=st.integers(1, 12))
    def step(self, who: int, steps: int) -> None:
        """Continue one owner's call."""
        owner = self.owners[who]
        for _ in range(steps):
            if owner.running is None:
                owner.hand_over_if_wanted()
                return
            owner.step()

    @rule(who=OWNERS)
    def finish(self, who: int) -> None:
        """Let one owner end its call; the other hands over when it has no call."""
        self.owners[who].finish([self.owners[1 - who]])

    def finish_both(self) -> None:
        """Let both end what they do; one may begin to hand over for the other."""
        while any(owner.running is not None for owner in self.owners):
            for who in (0, 1):
                self.finish(who)

    @precondition(lambda self: self.sent)
    @rule()
    def land(self) -> None:
        """Apply a request of a call that ended before."""
        self.kato.answer(self.sent.pop(0))

    @rule(who=OWNERS)
    def lose(self, who: int) -> None:
        """End an owner's lease: its process is stopped, or its directory has lost it."""
        self.store.expire(self.owners[who].name)

    @precondition(lambda self: self.kato.hung)
    @rule()
    def wake(self) -> None:
        """Resume the hung instance: its requests land now."""
        self.kato.wake()

    @rule(seconds=st.floats(0.1, 10.0))
    def directory_down(self, seconds: float) -> None:
        """The directory does not answer while both continue for a while."""
        self.store.down = True
        for owner in self.owners:
            for _ in range(6):
                if owner.running is not None:
                    owner.step()
        self.store.down = False


def check_error(error: BaseException | None) -> None:
    """Only the two owners write to the session, so that none of them finds a conflict."""
    if error is not None:
        assert isinstance(error, KatoConsulError | GeneratorExit), error
        assert not isinstance(error, SessionConflict), error


def settings_of(steps: int) -> settings:
    """Return the settings of a test whose runs have so many steps."""
    return settings(
        max_examples=RUNS,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate],  # shrinking takes minutes: add Phase.shrink by hand
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
