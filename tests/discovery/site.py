"""A cluster with three instances, and clients of both kinds that make calls all along."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kato_consul import (
    AsyncKatoClient,
    Discovery,
    KatoClient,
    Registrar,
    ServiceDefinition,
    Settings,
)
from kato_consul._definitions.schema import CheckDefinition
from kato_consul.testing import ConsulCluster, StandInKato
from tests.testing.waiting import eventually

PAUSE = 0.02
"""Seconds between two calls: they are to go on all along, not to fill the machine."""

LENGTH = 20
"""Observations of a session. Then it is read back, and a new one begins: opening is a call, too."""

SOON = 60.0
"""Seconds within which a cluster must have come to itself, on a machine with other things to do."""


class Site:
    """The cluster, three instances registered at its two agents, and two clients at work.

    Both clients know both agents. ``made`` counts their calls, the reading back among them.
    """

    def __init__(self, cluster: ConsulCluster, folder: Path) -> None:
        self.cluster = cluster
        self.made = {"sync": 0, "async": 0}
        self.failed: list[BaseException] = []
        self._folder = folder
        self._over = threading.Event()
        self._stack = ExitStack()
        self._threads = [
            threading.Thread(target=self._noting, args=(work,))
            for work in (self._work, lambda: asyncio.run(self._work_async()))
        ]

    def __enter__(self) -> "Site":
        with ExitStack() as opening:
            store = self._folder / "store.sqlite"
            instances = [opening.enter_context(StandInKato(store=store)) for _ in range(3)]
            definitions = [_definition(number, one) for number, one in enumerate(instances, 1)]
            first, second = self.cluster.clients
            for agent, its_own in ((first, definitions[:2]), (second, definitions[2:])):
                registrar = Registrar(its_own, Settings(consul_addr=agent.http_addr))
                opening.enter_context(registrar)
            self.settings = Settings(consul_addr=f"{first.http_addr},{second.http_addr}")
            self.watcher = opening.enter_context(Discovery(self.settings))
            opening.callback(self._stop)
            for thread in self._threads:
                thread.start()
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def carries_on(self, more: int = 2 * LENGTH) -> None:
        """Wait until each client has made so many more calls, and hold that none failed."""
        before = dict(self.made)

        def went_on() -> bool:
            return bool(self.failed) or all(self.made[k] >= before[k] + more for k in before)

        assert eventually(went_on, within=SOON)
        assert self.failed == []

    def confirmed(self, since: float) -> None:
        """Wait until Consul has confirmed what is gone by, after ``since``."""

        def confirmed() -> bool:
            store = self.watcher._service.store
            return store.last_error is None and (store.confirmed_at or 0.0) > since

        assert eventually(confirmed, within=SOON)

    def sees(self, *usable: str) -> None:
        """Wait until these instances and no others are usable by Consul's word."""

        def seen() -> bool:
            snapshot = self.watcher.current
            return snapshot is not None and {one.id for one in snapshot.usable} == set(usable)

        assert eventually(seen, within=SOON), self.watcher.current

    def _stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _noting(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failed.append(error)
            raise

    def _work(self) -> None:
        with KatoClient(self.settings) as kato:
            for number in itertools.count():
                session = kato.session(f"sync-{number}")
                for place in range(LENGTH):
                    if self._over.is_set():
                        return
                    session.observe([f"event-{place}"])
                    self.made["sync"] += 1
                    time.sleep(PAUSE)
                assert session.stm() == [[f"event-{place}"] for place in range(LENGTH)]
                self.made["sync"] += 1

    async def _work_async(self) -> None:
        async with AsyncKatoClient(self.settings) as kato:
            for number in itertools.count():
                session = kato.session(f"async-{number}")
                for place in range(LENGTH):
                    if self._over.is_set():
                        return
                    await session.observe([f"event-{place}"])
                    self.made["async"] += 1
                    await asyncio.sleep(PAUSE)
                assert await session.stm() == [[f"event-{place}"] for place in range(LENGTH)]
                self.made["async"] += 1


def _definition(number: int, one: StandInKato) -> ServiceDefinition:
    check = CheckDefinition(http=f"{one.url}/health", interval="1s", timeout="1s")
    return ServiceDefinition(
        name="kato", id=f"kato-{number}", address=one.host, port=one.port, check=check
    )
