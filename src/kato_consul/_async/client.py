"""The KATO client on asyncio."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from kato_consul._async.discovery import AsyncDiscovery
from kato_consul._async.instances import AsyncKatoInstance, AsyncKatoNode
from kato_consul._async.session import AsyncSession
from kato_consul._balancing.pool import InstanceView
from kato_consul._kato.queries import Everywhere, Query
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import OnConflict
from kato_consul._kato.types import LearnResult, ObservationResult, Prediction
from kato_consul.errors import KatoConsulError
from kato_consul.settings import Settings

R = TypeVar("R")


class AsyncKatoClient:
    """KATO's session API, over all healthy instances in Consul.

        async with AsyncKatoClient() as kato:
            session = kato.session("user-123")
            await session.observe(["product_view", "sku-1"])
            for prediction in await session.predictions():
                print(prediction["future"], prediction["potential"])

    Settings come from the environment unless given (see `Settings`). Tasks may share a client; it
    belongs to the event loop it is first used on, and so to one process. A call that does not come
    to a good end within ``settings.deadline`` seconds raises a `KatoConsulError`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.discovery = AsyncDiscovery(settings)
        self._factory = SessionFactory(
            self.discovery.settings, self.discovery._service.store, self.discovery.run
        )
        self._sessions: dict[str, AsyncSession] = {}

    def session(
        self,
        key: str,
        *,
        node_id: str | None = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
        on_conflict: OnConflict = "repair",
        attach: str | None = None,
    ) -> AsyncSession:
        """The session under a key of yours, the same object each time; KATO's is opened at need.

        ``node_id`` names the knowledge base and defaults to the key. ``config`` is KATO's session
        configuration, ``ttl`` in seconds. ``attach`` is KATO's id of a session that is there
        already, to go on with as it is. They count when a key is used for the first time.
        """
        session = self._sessions.get(key)
        if session is None:
            state = self._factory.new_state(
                key, node_id, config, metadata, ttl, on_conflict, attach
            )
            session = AsyncSession(self._factory, state)
            self._sessions[key] = session
        return session

    def instance(self, uid: str) -> AsyncKatoInstance:
        """One instance, by its service id (``id@node`` where two agents have the same)."""

        async def ask(query: Query[Any]) -> Any:
            return await self.discovery.run(self._factory.query_instance(uid, query))

        return AsyncKatoInstance(ask)

    def node(self, node_id: str) -> AsyncKatoNode:
        """What a node has learned, whoever taught it."""

        async def ask(query: Query[Any]) -> Any:
            return await self.discovery.run(self._factory.query_any(query))

        return AsyncKatoNode(node_id, ask)

    async def instances(self) -> list[InstanceView]:
        """Each instance: what Consul says of it, and what this client saw of it."""
        return self._factory.instance_views(await self.discovery.snapshot())

    async def on_all(self, query: Query[R]) -> Everywhere[R]:
        """Ask every instance that Consul lists, healthy or not: ``on_all(queries.health())``.

        What each answered, or the error it gave, by its uid.
        """
        snapshot = await self.discovery.snapshot()
        uids = [one.uid for one in snapshot.instances]

        async def ask(uid: str) -> R | KatoConsulError:
            try:
                found: R = await self.discovery.run(self._factory.query_instance(uid, query))
            except KatoConsulError as error:
                return error
            return found

        return dict(zip(uids, await asyncio.gather(*map(ask, uids)), strict=True))

    async def observe(
        self,
        session_id: str,
        strings: Iterable[str] | None = None,
        vectors: Iterable[Iterable[float]] | None = None,
        emotives: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ObservationResult:
        """Observe in the session under your key ``session_id``. See `AsyncSession.observe`."""
        return await self.session(session_id).observe(strings, vectors, emotives, metadata)

    async def learn(self, session_id: str) -> LearnResult:
        """Learn in the session under your key ``session_id``. See `AsyncSession.learn`."""
        return await self.session(session_id).learn()

    async def get_predictions(self, session_id: str) -> list[Prediction]:
        """Predictions of the session under your key ``session_id``."""
        return await self.session(session_id).predictions()

    async def aclose(self) -> None:
        """Close connections and end the watch. KATO's sessions stay, until their TTL ends them."""
        await self.discovery.aclose()

    async def __aenter__(self) -> Self:
        await self.discovery.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
