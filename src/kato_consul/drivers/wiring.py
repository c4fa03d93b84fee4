"""How the rooms are put together, for both shells: settings in, flows out."""

import copy
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kato_consul.board import Board
from kato_consul.drivers.leaving import dropping_who_left
from kato_consul.errors import ClientClosed, ConfigurationError, ConsulUnreachable, UnknownService
from kato_consul.flow import AwaitChange, Flow
from kato_consul.model import Snapshot
from kato_consul.registry.calls import ConsulCalls, ask
from kato_consul.registry.watching import watch
from kato_consul.requesting.failover import Failover
from kato_consul.sessions.answers import Observation
from kato_consul.sessions.asking import Asking
from kato_consul.sessions.queries import Query, ask_any, ask_one
from kato_consul.sessions.state import OnConflict, SessionState
from kato_consul.settings import Settings

clock = time.monotonic
chance = random.SystemRandom().random


def calls_for(settings: Settings) -> ConsulCalls:
    """The calls to the agent that the settings name."""
    # As Consul's own client sends them (api.QueryOptions).
    everywhere = {"ns": settings.namespace, "partition": settings.partition}
    return ConsulCalls(
        settings.consul_origin,
        token=settings.token,
        datacenter=settings.datacenter,
        auth=settings.auth,
        everywhere={name: value for name, value in everywhere.items() if value},
    )


class Finding:
    """Discovery of one service: its board, and the flows around it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calls = calls_for(settings)
        self.board = Board(settings.service)

    def watch(self) -> Flow[None]:
        """Flow without end: keep the board."""
        watching = watch(self.calls, self.board, clock=clock, random=chance)
        return dropping_who_left(watching, self.board)

    def first(self, timeout: float) -> Flow[Snapshot]:
        """Flow: the current snapshot, waited for while Consul has not answered yet.

        Raises:
            ConsulError: it did not answer within ``timeout`` seconds.
        """
        until = clock() + timeout
        while self.board.current is None:
            left = until - clock()
            if left <= 0:
                trouble = self.board.trouble or ConsulUnreachable(
                    self.calls.address, f"no answer yet after {timeout:g} s", sent=True
                )
                raise copy.copy(trouble)  # many callers may raise it
            yield AwaitChange(self.board, None, left)
        return self.board.current

    def after(self, seen: Snapshot | None) -> Flow[Snapshot]:
        """Flow: the next snapshot that differs from ``seen``."""
        while self.board.current is None or self.board.current is seen:
            yield AwaitChange(self.board, seen, 3600.0)
        return self.board.current

    def known(self, snapshot: Snapshot) -> Flow[Snapshot]:
        """Flow: the snapshot again, if its service is one that Consul knows.

        Raises:
            UnknownService: it is not; with the names of those that are.
        """
        if not snapshot.instances:
            names = yield from ask(self.calls.service_names())
            if snapshot.service not in names:
                raise UnknownService(snapshot.service, names)
        return snapshot


NOTHING: Mapping[str, Any] = MappingProxyType({})
"""One for all: an empty dict for each of 100,000 sessions is 6 MB."""


class Sessions:
    """What the sessions of one client share. ``run`` is the shell's way to run a flow."""

    def __init__(self, finding: Finding, run: Callable[[Flow[Any]], Any]) -> None:
        settings = finding.settings
        self.run = run
        self.of_parent = False
        self._settings = settings
        self.asking = Asking(Failover(finding.board, clock, chance), settings.attempt_timeout)

    def state(
        self,
        key: str,
        node_id: str | None,
        config: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        ttl: int | None,
        on_conflict: OnConflict,
    ) -> SessionState:
        """What is known of a new session: nothing but how it is to be opened."""
        if not key:
            raise ConfigurationError("a session needs a key of yours, such as a user's id")
        return SessionState(
            key,
            node_id or key,
            metadata=metadata or NOTHING,
            config=config or NOTHING,
            ttl=ttl if ttl is not None else self._settings.session_ttl,
            on_conflict=on_conflict,
        )

    def ask_any(self, key: str, query: Query[Any]) -> Flow[Any]:
        """Flow: ask whoever answers."""
        return ask_any(self.asking, query, key, self.deadline())

    def ask_one(self, uid: str, query: Query[Any]) -> Flow[Any]:
        """Flow: ask one instance and no other."""
        return ask_one(self.asking, query, uid, self.deadline())

    def check_own(self) -> None:
        """Are these sessions this process's?

        Raises:
            ClientClosed: they were made before a fork, and are the parent's.
        """
        if self.of_parent:
            raise ClientClosed(
                "this session was made before the process forked, and is its parent's: two "
                "writers would lose observations. Ask the client for the session again"
            )

    def deadline(self) -> float:
        """When a call that begins now has to be over."""
        return clock() + self._settings.deadline


def observation(
    strings: Iterable[str] | None,
    vectors: Iterable[Iterable[float]] | None,
    emotives: dict[str, float] | None,
    metadata: dict[str, Any] | None,
) -> Observation:
    """One observation, as KATO takes it."""
    made: Observation = {}
    if strings is not None:
        # A lone string is a mistake that would become an observation of its letters.
        made["strings"] = strings if isinstance(strings, str) else list(strings)  # type: ignore[typeddict-item]
    if vectors is not None:
        made["vectors"] = [list(vector) for vector in vectors]
    if emotives is not None:
        made["emotives"] = dict(emotives)
    if metadata is not None:
        made["metadata"] = dict(metadata)
    return made


def observations(given: Iterable[Observation | Sequence[str]]) -> list[Observation]:
    """Several observations; a plain list of strings is one of strings alone."""
    return [one if isinstance(one, dict) else observation(one, None, None, None) for one in given]
