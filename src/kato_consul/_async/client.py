"""The KATO client, on asyncio."""

from collections.abc import Iterable
from typing import Any, Self, TypeVar

from kato_consul._async import runtime
from kato_consul._async.discovery import AsyncDiscovery
from kato_consul._async.instances import AsyncKatoInstance, AsyncKatoNode
from kato_consul._async.session import AsyncSession
from kato_consul._async.shared_sessions import SharedSessions
from kato_consul._balancing.pool import InstanceView
from kato_consul._directory.choice import directory_of
from kato_consul._kato.queries import InstanceResults, Query
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_options import OnConflict
from kato_consul._kato.types import LearnResult, ObservationResult, Prediction
from kato_consul._owning.owned_sessions import OwnedSessions
from kato_consul._owning.owner import SessionOwner
from kato_consul.errors import KatoConsulError
from kato_consul.settings import Settings

R = TypeVar("R")


class AsyncKatoClient:
    """A client of KATO's session API, which uses all healthy instances in Consul.

        async with AsyncKatoClient() as kato:
            session = kato.session("user-123")
            await session.observe(["product_view", "sku-1"])
            for prediction in await session.predictions():
                print(prediction["future"], prediction["potential"])

    A call that does not succeed within ``settings.deadline`` seconds raises a `KatoConsulError`.

    An async client may be shared by the tasks of one event loop, and belongs to that loop and its
    process. A sync client may be shared by threads, and by forked children, which are clients of
    their own. With ``settings.session_directory`` a key is the same session in all processes of a
    service; without it, each client has sessions of its own.

    Args:
        settings: how to reach Consul and KATO; from the environment unless given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.discovery = AsyncDiscovery(settings)
        self.discovery._driver.owner_name = type(self).__name__
        runtime.in_each_process(self, AsyncKatoClient._set_up)

    def _set_up(self) -> None:
        settings, discovery = self.discovery.settings, self.discovery
        owner, run, self._shared = None, discovery._run, None
        if settings.session_directory is not None:
            owned = OwnedSessions(
                directory_of(settings), keeps_observations=settings.journal == "full"
            )
            owner = SessionOwner(owned)
            self._shared = SharedSessions(discovery, owned)
            run = self._shared.run
        self._factory = SessionFactory(
            settings,
            discovery._service.store,
            run,
            discovery._driver.check_usable,
            owner,
        )
        if self._shared is not None:
            self._shared.attach(self._factory)

    def session(
        self,
        key: str,
        *,
        node_id: str | None = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
        on_conflict: OnConflict | None = None,
        attach: str | None = None,
    ) -> AsyncSession:
        """Return the session of a key of your own, such as a user's id; the same object each time.

        KATO's session is opened by the first call that needs it. The other parameters apply when a
        key is used for the first time. Later they may be left out, or have the same values. If KATO
        refuses to open the session with them, the key may be used with others.

        Args:
            key: not empty; unique within this client, and with a session directory within the
                service.
            node_id: KATO's knowledge base, which sessions with the same ``node_id`` share; the key
                unless given.
            config: KATO's session configuration, such as ``{"max_pattern_length": 5}``.
                ``process_predictions`` is False unless named here: `AsyncSession.predictions` asks
                for predictions in any case. With True, KATO computes them with each observation as
                well. Then two sessions of one ``node_id`` that observe at the same moment hang
                their instance until it is killed, or receive each other's short-term memory
                (measured on KATO 3.10.1). Use it only if no other session has the same node.
            metadata: stored with KATO's session; any JSON object.
            ttl: seconds that KATO keeps the session after its last write;
                ``settings.session_ttl``, else KATO's default of 3600, unless given.
            on_conflict: what to do if the session in KATO differs from what this client wrote.
                ``"repair"``, the default, restores it if only writes of this client can explain the
                difference, and otherwise raises `SessionConflict`; ``"adopt"`` continues with the
                state that KATO has; ``"raise"`` raises `SessionConflict`.
            attach: KATO's id of an existing session, to use instead of opening a new one. It keeps
                its own configuration. No effect if the session directory has a session for the key.

        Raises:
            ConfigurationError: ``key`` is empty, ``key`` or another name is no text, a value is no
                JSON, or the key was used with another value before.
        """
        factory = self._factory
        options = factory.options(node_id, config, metadata, ttl, on_conflict, attach)
        session: AsyncSession | None = factory.sessions.get(key)
        if session is None:
            state = factory.new_state(key, options)
            # One operation: several threads may use the key for the first time.
            session = factory.sessions.setdefault(key, AsyncSession(factory, state))
        factory.require_same(session._state, options)
        return session

    def instance(self, uid: str) -> AsyncKatoInstance:
        """Return the API of one instance.

        Args:
            uid: its service id in Consul; ``id@node`` if two agents have the same id.
        """

        async def run(query: Query[Any]) -> Any:
            return await self.discovery._run(self._factory.query_instance(uid, query))

        return AsyncKatoInstance(run)

    def node(self, node_id: str) -> AsyncKatoNode:
        """Return the API of a node: what all sessions with the same ``node_id`` have learned.

        Args:
            node_id: the node's id, as given to `session`.
        """

        async def run(query: Query[Any]) -> Any:
            return await self.discovery._run(self._factory.query_any(query))

        return AsyncKatoNode(node_id, run)

    async def instances(self) -> list[InstanceView]:
        """Return all instances, with what Consul reports and what this client has measured.

        Raises:
            ConsulError: Consul did not answer before the deadline.
        """
        return self._factory.pool.views(await self.discovery.snapshot())

    async def on_all(self, query: Query[R]) -> InstanceResults[R]:
        """Run a query on every instance that Consul lists, healthy or not.

        Args:
            query: one of `kato_consul.queries`, as in ``on_all(queries.health())``.

        Returns:
            The result of each instance, or the error it ended with, by the instance's uid.
        """
        snapshot = await self.discovery.snapshot()
        uids = [instance.uid for instance in snapshot.instances]

        async def run(uid: str) -> R | KatoConsulError:
            try:
                result: R = await self.discovery._run(self._factory.query_instance(uid, query))
            except KatoConsulError as error:
                return error
            return result

        return dict(zip(uids, await runtime.map_concurrently(run, uids), strict=True))

    async def observe(
        self,
        session_id: str,
        strings: Iterable[str] | None = None,
        vectors: Iterable[Iterable[float]] | None = None,
        emotives: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ObservationResult:
        """Observe one event in a session.

        Args:
            session_id: the session's key in this client, as for `session`.
            strings, vectors, emotives, metadata: as for `AsyncSession.observe`, which also lists
                the errors.
        """
        return await self.session(session_id).observe(strings, vectors, emotives, metadata)

    async def learn(self, session_id: str) -> LearnResult:
        """Learn the short-term memory of a session as a pattern. See `AsyncSession.learn`.

        Args:
            session_id: the session's key in this client, as for `session`.
        """
        return await self.session(session_id).learn()

    async def get_predictions(self, session_id: str) -> list[Prediction]:
        """Return the predictions of a session. See `AsyncSession.predictions`.

        Args:
            session_id: the session's key in this client, as for `session`.
        """
        return await self.session(session_id).predictions()

    def __repr__(self) -> str:
        settings = self.discovery.settings
        return (
            f"<{type(self).__name__} service={settings.service!r} "
            f"consul={settings.consul_address if settings.uses_consul else None!r} "
            f"sessions={len(self._factory.sessions)}>"
        )

    async def aclose(self) -> None:
        """Stop the watch and close the connections. KATO keeps its sessions until their TTL.

        With a session directory, the sessions are handed over first, for at most two seconds.
        """
        try:
            if self._shared is not None:
                await self._shared.leave()
        finally:
            await self.discovery.aclose()

    async def __aenter__(self) -> Self:
        await self.discovery.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
