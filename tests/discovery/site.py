"""A cluster with three instances, and a sync and an async client that make calls continuously."""

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
"""Seconds between two calls: the calls are continuous, but must not saturate the machine."""

LENGTH = 20
"""Observations per session. Then it is read back, and a new one is opened, which is a call, too."""

RECOVERED_WITHIN = 60.0
"""Seconds within which a cluster must have recovered, also on a busy machine."""


class Site:
    """The cluster, three instances registered at its two agents, and two clients.

    Both clients use both agents. ``calls`` counts their calls, including the reads of sessions.
    """

    def __init__(self, cluster: ConsulCluster, folder: Path) -> None:
        self.cluster = cluster
        self.calls = {"sync": 0, "async": 0}
        self.failed: list[BaseException] = []
        self._folder = folder
        self._stopping = threading.Event()
        self._stack = ExitStack()
        self._threads = [
            threading.Thread(target=self._recording_errors, args=(work,))
            for work in (self._work, lambda: asyncio.run(self._work_async()))
        ]

    def __enter__(self) -> "Site":
        with ExitStack() as opening:
            store = self._folder / "store.sqlite"
            instances = [opening.enter_context(StandInKato(store=store)) for _ in range(3)]
            definitions = [_definition(number, one) for number, one in enumerate(instances, 1)]
            first, second = self.cluster.clients
            for agent, definitions_there in ((first, definitions[:2]), (second, definitions[2:])):
                registrar = Registrar(definitions_there, Settings(consul_addr=agent.http_addr))
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

    def assert_calls_succeed(self, more: int = 2 * LENGTH) -> None:
        """Wait until each client has made ``more`` calls, and assert that none failed."""
        before = dict(self.calls)

        def calls_made() -> bool:
            return bool(self.failed) or all(self.calls[k] >= before[k] + more for k in before)

        assert eventually(calls_made, within=RECOVERED_WITHIN)
        assert self.failed == []

    def wait_until_confirmed(self, since: float) -> None:
        """Wait until Consul has confirmed the snapshot after ``since``."""

        def confirmed() -> bool:
            store = self.watcher._service.store
            return store.last_error is None and (store.confirmed_at or 0.0) > since

        assert eventually(confirmed, within=RECOVERED_WITHIN)

    def wait_until_usable(self, *usable: str) -> None:
        """Wait until exactly these instances are usable in the snapshot."""

        def is_usable() -> bool:
            snapshot = self.watcher.current
            return snapshot is not None and {one.id for one in snapshot.usable} == set(usable)

        assert eventually(is_usable, within=RECOVERED_WITHIN), self.watcher.current

    def _stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _recording_errors(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failed.append(error)
            raise

    def _work(self) -> None:
        with KatoClient(self.settings) as kato:
            for number in itertools.count():
                session = kato.session(f"sync-{number}")
                for position in range(LENGTH):
                    if self._stopping.is_set():
                        return
                    session.observe([f"event-{position}"])
                    self.calls["sync"] += 1
                    time.sleep(PAUSE)
                assert session.stm() == [[f"event-{position}"] for position in range(LENGTH)]
                self.calls["sync"] += 1

    async def _work_async(self) -> None:
        async with AsyncKatoClient(self.settings) as kato:
            for number in itertools.count():
                session = kato.session(f"async-{number}")
                for position in range(LENGTH):
                    if self._stopping.is_set():
                        return
                    await session.observe([f"event-{position}"])
                    self.calls["async"] += 1
                    await asyncio.sleep(PAUSE)
                assert await session.stm() == [[f"event-{position}"] for position in range(LENGTH)]
                self.calls["async"] += 1


def _definition(number: int, one: StandInKato) -> ServiceDefinition:
    check = CheckDefinition(http=f"{one.url}/health", interval="1s", timeout="1s")
    return ServiceDefinition(
        name="kato", id=f"kato-{number}", address=one.host, port=one.port, check=check
    )
