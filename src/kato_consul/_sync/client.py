"""The KATO client for threads."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from kato_consul._balancing.pool import InstanceView
from kato_consul._kato.queries import Everywhere, Query
from kato_consul._kato.session_factory import SessionFactory
from kato_consul._kato.session_state import OnConflict
from kato_consul._kato.types import LearnResult, ObservationResult, Prediction
from kato_consul._sync.discovery import Discovery
from kato_consul._sync.fork_hooks import reset_in_child
from kato_consul._sync.instances import KatoInstance, KatoNode
from kato_consul._sync.session import Session
from kato_consul.errors import KatoConsulError
from kato_consul.settings import Settings

R = TypeVar("R")


class KatoClient:
    """KATO's session API, over all healthy instances in Consul.

        with KatoClient() as kato:
            session = kato.session("user-123")
            session.observe(["product_view", "sku-1"])
            for prediction in session.predictions():
                print(prediction["future"], prediction["potential"])

    Settings come from the environment unless given (see `Settings`). Threads may share a client. A
    forked child may use it too, with sessions of its own: those made before are the parent's. A
    call that does not come to a good end within ``settings.deadline`` seconds raises a
    `KatoConsulError`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.discovery = Discovery(settings)
        self._factory = SessionFactory(
            self.discovery.settings, self.discovery._service.store, self.discovery.run
        )
        self._sessions: dict[str, Session] = {}
        reset_in_child(self, KatoClient._reset_in_child)

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
    ) -> Session:
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
            session = Session(self._factory, state)
            self._sessions[key] = session
        return session

    def instance(self, uid: str) -> KatoInstance:
        """One instance, by its service id (``id@node`` where two agents have the same)."""

        def ask(query: Query[Any]) -> Any:
            return self.discovery.run(self._factory.query_instance(uid, query))

        return KatoInstance(ask)

    def node(self, node_id: str) -> KatoNode:
        """What a node has learned, whoever taught it."""

        def ask(query: Query[Any]) -> Any:
            return self.discovery.run(self._factory.query_any(query))

        return KatoNode(node_id, ask)

    def instances(self) -> list[InstanceView]:
        """Each instance: what Consul says of it, and what this client saw of it."""
        return self._factory.instance_views(self.discovery.snapshot())

    def on_all(self, query: Query[R]) -> Everywhere[R]:
        """Ask every instance that Consul lists, healthy or not: ``on_all(queries.health())``.

        What each answered, or the error it gave, by its uid.
        """
        snapshot = self.discovery.snapshot()
        uids = [one.uid for one in snapshot.instances]

        def ask(uid: str) -> R | KatoConsulError:
            try:
                found: R = self.discovery.run(self._factory.query_instance(uid, query))
            except KatoConsulError as error:
                return error
            return found

        with ThreadPoolExecutor(max_workers=max(1, min(len(uids), 32))) as pool:
            return dict(zip(uids, pool.map(ask, uids), strict=True))

    def observe(
        self,
        session_id: str,
        strings: Iterable[str] | None = None,
        vectors: Iterable[Iterable[float]] | None = None,
        emotives: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ObservationResult:
        """Observe in the session under your key ``session_id``. See `Session.observe`."""
        return self.session(session_id).observe(strings, vectors, emotives, metadata)

    def learn(self, session_id: str) -> LearnResult:
        """Learn in the session under your key ``session_id``. See `Session.learn`."""
        return self.session(session_id).learn()

    def get_predictions(self, session_id: str) -> list[Prediction]:
        """Predictions of the session under your key ``session_id``."""
        return self.session(session_id).predictions()

    def close(self) -> None:
        """Close connections and end the watch. KATO's sessions stay, until their TTL ends them."""
        self.discovery.close()

    def _reset_in_child(self) -> None:
        """In a forked child: KATO's sessions stay the parent's, since each has one writer."""
        self._factory.made_before_fork = True
        self._factory = SessionFactory(
            self.discovery.settings, self.discovery._service.store, self.discovery.run
        )
        self._sessions = {}

    def __enter__(self) -> Self:
        self.discovery.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
