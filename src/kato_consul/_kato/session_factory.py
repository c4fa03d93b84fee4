"""Session factory: creates the sessions of one client and holds what they share."""

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from kato_consul._balancing.pool import pool_for
from kato_consul._directory.entry import check_given
from kato_consul._flow import Flow
from kato_consul._kato.config_check import check_config
from kato_consul._kato.journal import EMPTY, Journal
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import Owner
from kato_consul._kato.queries import Query, query_any, query_instance
from kato_consul._kato.session_options import (
    NO_OPTIONS,
    OnConflict,
    SessionOptions,
    checked_key,
    checked_options,
    require_same,
)
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.shared_nodes import SharedNodes
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul._runtime_defaults import clock, uniform
from kato_consul._tracing import add_trace_id
from kato_consul.errors import ClientClosed, RequestNotSent, SessionBusy
from kato_consul.settings import Settings

NOTHING_GIVEN = (None,) * 6


class SessionFactory:
    """Creates the sessions of one client, and holds what they share.

    ``sessions`` has the shell's session of each key.

    ``store`` has the service's instances. ``run`` runs a flow in the shell and returns its result,
    or an awaitable of it; ``check_usable`` raises `ClientClosed` if it would. ``owner`` owns the
    sessions, if they are shared with other processes.
    """

    def __init__(
        self,
        settings: Settings,
        store: SnapshotStore,
        run: Callable[[Flow[Any]], Any],
        check_usable: Callable[[], None],
        owner: Owner | None = None,
    ) -> None:
        self.run = run
        self.check_usable = check_usable
        self._process = os.getpid()
        self._settings = settings
        self.sessions: dict[str, Any] = {}
        # Weak: the owner's background work refers to states, and so to this.
        self._nodes = SharedNodes(partial(_has_own_node, weakref.ref(self)))
        self._interrupted: dict[tuple[str, str], None] = {}
        self.pool = pool_for(settings)
        failover = Failover(
            store,
            self.pool,
            clock,
            uniform,
            hedge=settings.hedge,
            wait_for_instances=settings.wait_for_instances,
        )
        self.owner = owner
        self.api = KatoApi(failover, settings.attempt_timeout, settings.deadline, owner)

    def new_state(self, key: str, options: SessionOptions) -> SessionState:
        """Return the state of a session that is not open yet.

        Raises:
            ConfigurationError: ``key`` is empty or no text, or the session is shared with other
                processes, and its options are too large for that.
        """
        key = checked_key(key)
        if self.owner is not None:
            metadata, config = options.metadata or EMPTY, options.config or EMPTY
            check_given(key, options.node_id or key, metadata, config)
        self._nodes.add(key, options.node_id, options.config or EMPTY)
        return SessionState(
            key,
            options.node_id or key,
            metadata=options.metadata or EMPTY,
            ttl=options.ttl if options.ttl is not None else self._settings.session_ttl,
            on_conflict=options.on_conflict or "repair",
            owns_node=options.node_id is None,
            nodes=self._nodes,
            interrupted=self._interrupted,
            options=options,
            attach_id=options.attach or "",
            journal=Journal(options.config or EMPTY),
        )

    def options(
        self,
        node_id: str | None,
        config: dict[str, Any] | None,
        metadata: dict[str, Any] | None,
        ttl: int | None,
        on_conflict: OnConflict | None,
        attach: str | None,
    ) -> SessionOptions:
        """Return the options that a session is asked for with; None is one that is not given.

        Raises:
            ConfigurationError: one is invalid.
        """
        if (node_id, config, metadata, ttl, on_conflict, attach) == NOTHING_GIVEN:
            return NO_OPTIONS
        options = checked_options(node_id, config, metadata, ttl, on_conflict, attach)
        check_config(options.config or EMPTY)
        return options

    def require_same(self, state: SessionState, options: SessionOptions) -> None:
        """Check that a key is used with the options of its first use.

        Raises:
            ConfigurationError: an option that is given differs.
        """
        if options is not NO_OPTIONS and options is not state.options:
            require_same(state.key, state.options, options, self._settings.session_ttl)

    def let_go(self, state: SessionState) -> None:
        """Forget a session that KATO refused to open: its key may be used with other options.

        Its calls run one at a time, and nothing else removes a session: this one removes itself.
        """
        session = self.sessions.get(state.key)
        if session is not None and session._state is state:
            del self.sessions[state.key]
            self._nodes.remove(state.key, state.node_id)

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
        error = RequestNotSent(
            f"session {state.key!r}: calls on a session run one at a time, and those before this "
            f"one did not end before its deadline ({self._settings.deadline:g} s). Nothing of it "
            f"was sent"
        )
        add_trace_id(error)
        return error

    def busy(self, state: SessionState) -> SessionBusy:
        """Return the error of a call that is made from within another call on the session."""
        return SessionBusy(
            f"session {state.key!r} is used from within one of its own calls, which would wait for "
            f"itself. Nothing was sent. Use the session when the call has returned"
        )


def _has_own_node(factory: weakref.ref[SessionFactory], key: str) -> bool:
    living = factory()
    session = None if living is None else living.sessions.get(key)
    return session is not None and session._state.owns_node
