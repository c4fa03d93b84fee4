"""Disturbances of a run: of instances, and of what is in front of them.

What is done, to which instance, and after which pauses is drawn from a seed: it is the same for
each way from the callers to KATO.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Self

from kato_consul import Discovery, Registrar
from kato_consul.testing import Fleet
from tests.callers.fronts import Front
from tests.testing.waiting import eventually

KILLED, STOPPED, HUNG = "instance killed", "instance stopped", "instance hung and killed"
RESTARTED = "instances restarted in turn"
INSTANCE_KINDS = {KILLED: 3, STOPPED: 1, HUNG: 1, RESTARTED: 1}
"""What is done to instances, and how often in each round."""

DRAIN_WITHIN = 10.0
"""Seconds that an orderly restart of an instance waits for its clients."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One disturbance: its kind, the seconds before it, the seconds that it lasts, and a number
    that chooses the instance.
    """

    kind: str
    pause: float
    lasts: float
    instance: int


def instance_plan(seed: int) -> Iterator[Disturbance]:
    """Yield what is done to instances, round by round."""
    rng = random.Random(f"{seed} instances")
    kinds = [kind for kind, count in INSTANCE_KINDS.items() for _ in range(count)]
    while True:
        for kind in rng.sample(kinds, len(kinds)):
            lasts = rng.uniform(0.0, 2.0) if kind == KILLED else rng.uniform(3.0, 5.0)
            yield Disturbance(kind, rng.uniform(0.5, 2.0), lasts, rng.randrange(1_000))


def front_plan(seed: int, kind: str) -> Iterator[Disturbance]:
    """Yield what is done to the front: always the same, with pauses."""
    rng = random.Random(f"{seed} front")
    while True:
        yield Disturbance(kind, rng.uniform(1.0, 4.0), 0.0, 0)


class RegisteredInstances:
    """The instances of a fleet, each with a registrar of its own, as beside `kato-consul exec`."""

    def __init__(self, fleet: Fleet) -> None:
        self._instances = fleet.instances
        with ExitStack() as opening:
            self._registrars: dict[str, Registrar] = {}
            for definition in fleet.definitions:
                registrar = Registrar([definition], fleet.settings)
                opening.callback(registrar.close)
                registrar.start()
                self._registrars[definition.id] = registrar
            self._discovery = opening.enter_context(Discovery(fleet.settings))
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def kill(self, number: int, wait: Callable[[], object]) -> None:
        """Kill an instance in the middle of requests, and start it after a wait."""
        instance = self._choose(number)
        self._instances[instance].kill()
        wait()
        self._instances[instance].start()
        self._wait_until_usable(instance)

    def stop(self, number: int, wait: Callable[[], object]) -> None:
        """Stop an instance with SIGSTOP for the time of a wait: it answers nothing meanwhile."""
        instance = self._choose(number)
        self._instances[instance].freeze()
        wait()
        self._instances[instance].thaw()
        self._wait_until_usable(instance)

    def hang(self, number: int, wait: Callable[[], object]) -> None:
        """Stop an instance for the time of a wait, kill it then, and start it again."""
        instance = self._instances[self._choose(number)]
        instance.freeze()
        wait()
        self.kill(number, lambda: None)

    def restart_all(self) -> None:
        """Drain, restart and resume each in its turn."""
        for service_id, registrar in self._registrars.items():
            registrar.drain(DRAIN_WITHIN)
            self._instances[service_id].restart()
            registrar.resume()
            self._wait_until_usable(service_id)

    def _choose(self, number: int) -> str:
        return [*self._instances][number % len(self._instances)]

    def _wait_until_usable(self, service_id: str) -> None:
        if not eventually(
            lambda: any(one.id == service_id for one in self._discovery.snapshot().usable)
        ):
            raise TimeoutError(f"{service_id} is not usable again")


class Disturbances:
    """Disturbs instances and front at the same time, each in a thread, in a ``with`` block.

    Args:
        instances: the instances.
        front: what is in front of them.
        seed: of the plan.
    """

    def __init__(self, instances: RegisteredInstances, front: Front, seed: int) -> None:
        self._instances = instances
        self._front = front
        self._over = threading.Event()
        self.errors: list[BaseException] = []
        self.counts: Counter[str] = Counter()
        self.timeline: list[tuple[float, str]] = []
        """Times in seconds since 1970, and what began or ended then."""
        self._kinds = {*INSTANCE_KINDS, front.KIND}
        self._threads = [
            threading.Thread(target=self._run, args=[plan])
            for plan in (instance_plan(seed), front_plan(seed, front.KIND))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def missing(self) -> set[str]:
        """The kinds that have not been done."""
        return self._kinds - {kind for kind, count in self.counts.items() if count}

    def _run(self, plan: Iterator[Disturbance]) -> None:
        try:
            for one in plan:
                if self._over.wait(one.pause):
                    return
                self.timeline.append((time.time(), f"{one.kind} ({one.instance % 3 + 1})"))
                self._do(one)
                self.timeline.append((time.time(), f"{one.kind}: over"))
                self.counts[one.kind] += 1
        except BaseException as error:  # noqa: BLE001  # the run fails with it
            self.errors.append(error)

    def _do(self, one: Disturbance) -> None:
        wait = partial(self._over.wait, one.lasts)
        if one.kind == KILLED:
            self._instances.kill(one.instance, wait)
        elif one.kind == STOPPED:
            self._instances.stop(one.instance, wait)
        elif one.kind == HUNG:
            self._instances.hang(one.instance, wait)
        elif one.kind == RESTARTED:
            self._instances.restart_all()
        else:
            self._front.disturb()
