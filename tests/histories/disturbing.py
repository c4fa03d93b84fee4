"""Disturbances of a run: processes, instances and the directory are stopped, killed or cut off."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kato_consul.testing.kato.instance import StandInKato
from tests.histories.check import Stop
from tests.histories.group import Child, Group
from tests.histories.site import SLOW, Site

LATE = 3.0
"""Seconds that an instance takes between its reading of a session and its writing back, until it is
stopped in between."""


@dataclass
class Disturbances:
    """Disturbs clients, instances and the directory at the same time, each in a thread.

    ``pace``: seconds between two disturbances of each. ``away``: seconds that the directory is
    away. ``counts`` is what was done, ``stops`` when clients were stopped.
    """

    site: Site
    group: Group
    seed: int
    pace: float
    away: float
    over: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    stops: list[Stop] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> "Disturbances":
        self._threads = [
            threading.Thread(target=self._run, args=[work, random.Random(f"{self.seed} {name}")])
            for name, work in (
                ("clients", self._clients),
                ("instances", self._instances),
                ("directory", self._directory),
            )
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    @property
    def complete(self) -> bool:
        """True if each kind was done once."""
        return set(self.counts) >= KINDS

    def _run(self, work: Callable[[random.Random], None], rng: random.Random) -> None:
        try:
            work(rng)
        except BaseException as error:  # noqa: BLE001  # raised again in the end
            self.errors.append(error)

    def _clients(self, rng: random.Random) -> None:
        for kind in self._kinds(rng, CLIENT_KINDS):
            child = self.group.any_child(rng)
            self.counts[kind] += 1
            if kind == "process killed":
                self.group.kill(child)
                self.over.wait(rng.uniform(0.0, 1.0))
                self.group.start(child.slot)
            elif kind == "process replaced":
                self.group.end(child)
                self.group.start(child.slot)
            elif kind == "process cut off":
                child.proxy.hold(True)
                self.over.wait(rng.uniform(2.0, 6.0))
                child.proxy.cut_all()
                child.proxy.hold(False)
            else:
                started = time.monotonic()
                child.process.freeze()
                self.over.wait(rng.uniform(0.2, 1.0))
                self.group.retry_elsewhere(child)
                self.over.wait(rng.uniform(3.0, 4.0))
                child.process.thaw()
                self.stops.append(Stop(child.name, started, time.monotonic()))

    def _instances(self, rng: random.Random) -> None:
        for kind in self._kinds(rng, INSTANCE_KINDS):
            instance = rng.choice(self.site.instances)
            self.counts[kind] += 1
            if kind == "instance killed":
                instance.kill()
                self.over.wait(rng.uniform(0.0, 2.0))
                instance.start()
                continue
            if kind == "instance stopped":
                instance.freeze()
                self.over.wait(rng.uniform(1.0, 5.0))
                instance.thaw()
            else:
                self._lose_leases(instance, rng)

    def _lose_leases(self, instance: StandInKato, rng: random.Random) -> None:
        """Stop an instance while it has read sessions and not written them back, and cut all
        processes but one off from the directory. That one takes over what it is asked for. Then the
        instance goes on: what it writes, and answers to the others, comes too late."""
        instance.switch(slow=LATE)
        self.over.wait(rng.uniform(0.5, 1.0))
        instance.freeze()
        children = self.group.all_children()
        children.remove(rng.choice(children))
        for child in children:
            child.proxy.hold(True)
            self.group.retry_elsewhere(child)
        self.over.wait(rng.uniform(4.0, 7.0))
        instance.switch(slow=SLOW)
        instance.thaw()
        threading.Timer(rng.uniform(0.0, 1.0), self._connect, [children]).start()

    @staticmethod
    def _connect(children: list[Child]) -> None:
        for child in children:
            child.proxy.hold(False)

    def _directory(self, rng: random.Random) -> None:
        for kind in self._kinds(rng, DIRECTORY_KINDS, rarer=3.0):
            self.counts[kind] += 1
            if kind == "directory away":
                self._be_away(self.away)
            else:  # back for so short a time that takeovers begin, and do not end
                for _ in range(3):
                    self._be_away(rng.uniform(2.5, 3.5))
                    self.over.wait(rng.uniform(0.1, 0.8))

    def _be_away(self, seconds: float) -> None:
        self.site.directory.freeze()
        self.over.wait(seconds)
        self.site.directory.thaw()

    def _kinds(
        self, rng: random.Random, kinds: tuple[str, ...], rarer: float = 1.0
    ) -> Iterator[str]:
        """Yield the kinds, each as often, until the end."""
        while True:
            for kind in rng.sample(kinds, len(kinds)):
                if self.over.wait(rng.uniform(0.5, 1.5) * self.pace * rarer):
                    return
                yield kind


CLIENT_KINDS = ("process killed", "process stopped", "process replaced", "process cut off")
INSTANCE_KINDS = ("instance killed", "instance stopped", "leases lost at a stopped instance")
DIRECTORY_KINDS = ("directory away", "directory back for moments")
KINDS = {*CLIENT_KINDS, *INSTANCE_KINDS, *DIRECTORY_KINDS}
