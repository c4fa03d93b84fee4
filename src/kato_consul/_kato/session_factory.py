"""Session factory: creates the sessions of one client and holds what they share."""

import os
from collections.abc import Callable
from typing import Any

from kato_consul._balancing.pool import pool_for
from kato_consul._flow import Flow
from kato_consul._kato.config_check import check_config, copied_json
from kato_consul._kato.journal import EMPTY, Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.queries import Query, query_any, query_instance
from kato_consul._kato.session_state import OnConflict, SessionState
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul._runtime_defaults import clock, uniform
from kato_consul.errors import ClientClosed, ConfigurationError, RequestNotSent, SessionBusy
from kato_consul.settings import Settings


class SessionFactory:
    """Creates the sessions of one client, and holds what they share.

    ``store`` has the service's instances. ``run`` runs a flow in the shell and returns its result,
    or an awaitable of it; ``check_usable`` raises `ClientClosed` if it would.
    """

    def __init__(
        self,
        settings: Settings,
        store: SnapshotStore,
        run: Callable[[Flow[Any]], Any],
        check_usable: Callable[[], None],
    ) -> None:
        self.run = run
        self.check_usable = check_usable
        self._process = os.getpid()
        self._settings = settings
        self._named_nodes: set[str] = set()
        self._interrupted: dict[tuple[str, str], None] = {}
        self.pool = pool_for(settings)
        failover = Failover(store, self.pool, clock, uniform, hedge=settings.hedge)
        self.api = KatoApi(failover, settings.attempt_timeout, settings.deadline)

    def new_state(
        self,
        key: str,
        node_id: str | None,
        config: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        ttl: int | None,
        on_conflict: OnConflict,
        attach: str | None,
    ) -> SessionState:
        """Return the state of a session that is not open yet.

        ``node_id`` defaults to ``key``, ``ttl`` (seconds) to the setting ``session_ttl``.
        ``attach`` is the id of an existing KATO session to attach to.

        Raises:
            ConfigurationError: ``key`` is empty or no text, or ``config`` or ``metadata`` no JSON.
        """
        if not key:
            raise ConfigurationError("a session needs a non-empty key, such as a user's id")
        copied_json({"key": key, "node_id": node_id, "attach": attach}, "the session's names")
        if node_id is not None:
            self._named_nodes.add(node_id)
        own_config = copied_json(config, "the session's config") if config else EMPTY
        check_config(own_config)
        return SessionState(
            key,
            node_id or key,
            metadata=copied_json(metadata, "the session's metadata") if metadata else EMPTY,
            ttl=ttl if ttl is not None else self._settings.session_ttl,
            on_conflict=on_conflict,
            owns_node=node_id is None,
            named_nodes=self._named_nodes,
            interrupted=self._interrupted,
            attach_id=attach or "",
            journal=Journal(own_config),
        )

    def query_any(self, query: Query[Any]) -> Flow[Any]:
        """Flow: run the query on any instance."""
        return query_any(self.api, query, self.deadline())

    def query_instance(self, uid: str, query: Query[Any]) -> Flow[Any]:
        """Flow: run the query on one instance only."""
        return query_instance(self.api, query, uid, self.deadline())

    def require_own_process(self) -> None:
        """Return if the sessions were created in this process.

        Raises:
            ClientClosed: they were created before a fork, and belong to the parent process.
        """
        if self._process != os.getpid():
            raise ClientClosed(
                "this session was created before the process forked, and belongs to the parent "
                "process: two writers would lose observations. Get it from the client again"
            )

    def deadline(self) -> float:
        """Return the deadline of a call that starts now."""
        return clock() + self._settings.deadline

    def remaining(self, deadline: float) -> float:
        """Return the seconds until ``deadline``."""
        return deadline - clock()

    def turn_did_not_come(self, state: SessionState) -> RequestNotSent:
        """Return the error of a call that waited for the session's turn until its deadline."""
        return RequestNotSent(
            f"session {state.key!r}: calls on a session run one at a time, and those before this "
            f"one did not end before its deadline ({self._settings.deadline:g} s). Nothing of it "
            f"was sent"
        )

    def busy(self, state: SessionState) -> SessionBusy:
        """Return the error of a call that is made from within another call on the session."""
        return SessionBusy(
            f"session {state.key!r} is used from within one of its own calls, which would wait for "
            f"itself. Nothing was sent. Use the session when the call has returned"
        )
