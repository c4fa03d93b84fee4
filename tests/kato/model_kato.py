"""In-memory model of KATO for tests of session flows, with fault injection.

The rules of the memory are those of the stand-in (`kato_consul.testing.kato.memory`), which the
conformance suite compares with a real KATO.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from kato_consul._balancing.pool import Pool
from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._observable import SnapshotStore
from kato_consul._requests.failover import Failover
from kato_consul.models import Instance, Snapshot
from kato_consul.testing.clock import ManualClock
from kato_consul.testing.kato import config, memory
from kato_consul.testing.kato.memory import StoredSession
from tests.building import cut, refused, reply
from tests.flows import Player

TEXT = {"content-type": "text/plain"}
SERVER_ERROR = Reply(500, TEXT, b"Internal Server Error")


class StoreError(Exception):
    """The store refuses a write that KATO does not ignore."""


class Fault(StrEnum):
    """What happens to one request."""

    NOT_SENT = "cut before a byte was sent"
    LIMIT = "503 of the server's own limit"
    LOST_REQUEST = "cut before the server read it"
    LOST_ANSWER = "applied, then cut"
    HALF_ANSWER = "applied, response cut in half"
    BAD_GATEWAY = "502, not applied"
    GATEWAY_TIMEOUT = "504, applied"
    SERVER_ERROR = "500, not applied"
    CRASH = "500, applied"
    HANG_UNREAD = "hung with the request unread; may be applied later"
    HANG_READ = "hung after reading the session; may overwrite it later"
    HANG_APPLIED = "applied, then no response"
    COUNTED = "stopped after the pattern was learned, before the session was saved"
    COUNTED_WITHOUT_ROW = "stopped after the pattern was counted, before its row was written"


@dataclass
class ModelKato:
    """One store behind instances ``a``, ``b`` and ``c``.

    ``patterns`` are the frequencies of learned events; KATO itself does not count single symbols.
    ``rows`` are those that the pattern store has.

    ``faults`` are consumed, one for each write request. An instance that hangs sends no response
    and keeps its requests in ``late``, until ``hangs_for`` seconds have passed or `wake` is called.
    Then it applies them, and ``landings`` counts them. One instance hangs at a time.
    ``store`` is "up", "down" or "full"; ``created`` is the number of sessions created;
    ``default_ttl`` is in seconds.
    """

    sessions: dict[str, StoredSession] = field(default_factory=dict)
    patterns: Counter[tuple[tuple[str, ...], ...]] = field(default_factory=Counter)
    rows: set[tuple[tuple[str, ...], ...]] = field(default_factory=set)
    saves: bool = True
    writes_rows: bool = True
    faults: list[Fault] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)
    hangs_for: float = 20.0
    hung: str | None = None
    wakes_at: float = 0.0
    landings: int = 0
    late: list[Callable[[], None]] = field(default_factory=list)
    store: str = "up"
    default_ttl: int = 3600
    created: int = 0
    saved: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, send: Send) -> Outcome:
        """Return the outcome of a request."""
        if self.hung is not None and self.clock.now >= self.wakes_at:
            self.wake()
        path = send.target.split("?")[0]
        self.requests.append((send.method, path.rsplit("/", 1)[-1]))
        body = json.loads(send.body) if send.body else {}
        if send.origin == self.hung:
            self.late.append(lambda: _ignore(self._serve(send.method, path, body)))
            return self._no_response(send)
        writes = send.method == "POST" and path != "/sessions" and not self._is_barrier(path, body)
        fault = self.faults.pop(0) if writes and self.faults else None
        if fault in (Fault.HANG_UNREAD, Fault.HANG_READ) and self.hung is not None:
            fault = Fault.LOST_REQUEST
        return self._faulty(fault, send, path, body)

    def wake(self) -> None:
        """Resume the hung instance: it applies its requests, in the order they came."""
        self.hung = None
        late, self.late = self.late, []
        self.landings += len(late)
        for apply in late:
            apply()

    def lose_sessions(self) -> None:
        """Delete all sessions, as a flushed Redis does."""
        self.sessions.clear()

    def only_session(self) -> StoredSession:
        """Return the session, of which there must be one only."""
        (session,) = self.sessions.values()
        return session

    def session_of(self, state: SessionState) -> StoredSession:
        """Return the session that a client uses now. Others may be left over from before."""
        assert state.id is not None
        return self.sessions[state.id]

    @staticmethod
    def _is_barrier(path: str, body: dict[str, Any]) -> bool:
        return path.endswith("/observe-sequence") and not body["observations"]

    def _faulty(self, fault: Fault | None, send: Send, path: str, body: dict[str, Any]) -> Outcome:
        match fault:
            case None:
                return self._serve(send.method, path, body)
            case Fault.NOT_SENT:
                return refused()
            case Fault.LIMIT:
                headers = {"content-type": "text/plain; charset=utf-8", "connection": "close"}
                return Reply(503, headers, b"Service Unavailable")
            case Fault.LOST_REQUEST:
                return cut()
            case Fault.BAD_GATEWAY:
                return Reply(502, TEXT, b"Bad Gateway")
            case Fault.SERVER_ERROR:
                return SERVER_ERROR
            case Fault.HANG_UNREAD:
                self.late.append(lambda: _ignore(self._serve(send.method, path, body)))
                return self._hang(send)
            case Fault.HANG_READ:
                self.late.append(self._overwriting(send.method, path, body))
                return self._hang(send)
            case Fault.COUNTED | Fault.COUNTED_WITHOUT_ROW:
                self.saves, self.writes_rows = False, fault is Fault.COUNTED
                self._serve(send.method, path, body)
                self.saves = self.writes_rows = True
                return cut()
        self._serve(send.method, path, body)  # the rest: applied, without a valid response
        match fault:
            case Fault.LOST_ANSWER:
                return cut()
            case Fault.HALF_ANSWER:
                return Failure(Cause.PROTOCOL, bytes_sent=True, detail="incomplete body")
            case Fault.GATEWAY_TIMEOUT:
                return Reply(504, TEXT, b"Gateway Timeout")
            case Fault.CRASH:
                return SERVER_ERROR
            case _:
                return self._no_response(send)

    def _hang(self, send: Send) -> Failure:
        self.hung = send.origin
        self.wakes_at = self.clock.now + self.hangs_for
        return self._no_response(send)

    def _no_response(self, send: Send) -> Failure:
        self.clock.advance(send.timeout)
        return Failure(Cause.TIMEOUT, bytes_sent=True, detail="no response")

    def _overwriting(self, method: str, path: str, body: dict[str, Any]) -> Callable[[], None]:
        """Process the request with the session as it is now; return what saves it later."""
        sessions, patterns = copy.deepcopy((self.sessions, self.patterns))
        rows = set(self.rows)
        frozen = ModelKato(sessions=sessions, patterns=patterns, rows=rows, store=self.store)
        before = Counter(self.patterns)
        frozen._serve(method, path, body)
        session_id = path.split("/")[2]

        def save() -> None:
            if frozen.saved:  # a session that was deleted meanwhile is there again
                self.sessions[session_id] = frozen.sessions[session_id]
            learned = frozen.patterns - before
            self.rows |= frozen.rows
            self.patterns += learned

        return save

    def _serve(self, method: str, path: str, body: dict[str, Any]) -> Reply:
        parts = path.strip("/").split("/")
        if parts == ["sessions"]:
            return self._create(body)
        if parts[0] == "pattern":
            return self._pattern(unquote(parts[1]))
        session_id = parts[1]
        verb = parts[2] if len(parts) > 2 else method
        if verb == "exists":
            if self.store == "down":
                return SERVER_ERROR
            return reply(200, {"exists": session_id in self.sessions, "expired": False})
        if self.store == "down" or session_id not in self.sessions:
            message = f"Session {session_id} not found or expired"
            error = {"code": "SESSION_NOT_FOUND", "message": message, "session_id": session_id}
            return reply(404, {"error": error})
        session = copy.deepcopy(self.sessions[session_id])
        return self._process(session, verb, body)

    def _process(self, session: StoredSession, verb: str, body: dict[str, Any]) -> Reply:
        try:
            return self._process_in_store(session, verb, body)
        except StoreError:
            return SERVER_ERROR

    def _process_in_store(self, session: StoredSession, verb: str, body: dict[str, Any]) -> Reply:
        match verb:
            case "observe":
                learned = self._observe(session, body)
                self._save(session)
                return reply(200, _observed(session, learned))
            case "observe-sequence":
                return self._sequence(session, body)
            case "learn":
                if not session.stm:
                    return reply(400, {"detail": "Cannot learn from empty STM"})
                name = self._learn(memory.learn(session))
                self._save(session)
                return reply(200, {"status": "learned", "pattern_name": name})
            case "clear-all":
                self.patterns.clear()
                self.rows.clear()
                memory.clear(session)
                self._save(session)
                return reply(200, {"status": "cleared"})
            case "clear-stm":
                memory.clear(session)
                if not self._save(session):
                    detail = f"Session {session.session_id} not found"
                    return reply(404, {"detail": detail})
                return reply(200, {"status": "cleared", "session_id": session.session_id})
            case "extend":
                self._save(session)
                return reply(200, {"status": "okay"})
            case "stm":
                return reply(200, {"stm": session.stm, "length": len(session.stm)})
            case "GET":
                info = {"session_id": session.session_id, "node_id": session.node_id}
                more = {"metadata": session.metadata, "ttl_seconds": session.ttl_seconds}
                return reply(200, {**info, **more})
            case "config" if body:
                session.config = config.updated(session.config, body["config"])
                self._save(session)
                return reply(200, {"status": "okay"})
            case "config":
                return reply(200, {"config": config.effective(session.config)})
            case "cognition-data":
                data = {"time": session.time, "short_term_memory": session.stm}
                return reply(200, {"cognition_data": data})
            case "predictions":
                return reply(200, {"predictions": [], "count": 0})
            case "DELETE":
                del self.sessions[session.session_id]
                return reply(200, {"status": "deleted"})
        raise AssertionError(f"the model does not implement {verb}")

    def _create(self, body: dict[str, Any]) -> Reply:
        if self.store != "up":
            return SERVER_ERROR
        self.created += 1
        ttl = body.get("ttl_seconds", self.default_ttl)
        session = StoredSession(f"session-{self.created}", body["node_id"], 0.0, 0.0, ttl)
        session.metadata = body.get("metadata", {})
        session.config = config.at_creation(body.get("config") or {})
        self.sessions[session.session_id] = session
        effective = config.effective(session.config)
        created = {"session_id": session.session_id, "node_id": session.node_id}
        return reply(200, {**created, "ttl_seconds": ttl, "session_config": effective})

    def _sequence(self, session: StoredSession, body: dict[str, Any]) -> Reply:
        at_start = len(session.stm)
        results = []
        names: list[str] = []
        for position, observation in enumerate(body["observations"]):
            if body["clear_stm_between"] and position:
                session.stm = []
            learned = self._observe(session, observation)
            if body["learn_after_each"] and session.stm:
                names.append(self._learn(memory.learn(session)))
            if learned:
                names.append(learned)
            results.append({**_observed(session, learned), "sequence_position": position})
        at_end = len(session.stm)  # as KATO: before it drops the oldest events
        if results:
            self._save(session)
        return reply(
            200,
            {
                "status": "completed",
                "processor_id": session.node_id,
                "observations_processed": len(results),
                "initial_stm_length": at_start,
                "final_stm_length": at_end,
                "results": results,
                "auto_learned_patterns": names,
                "final_learned_pattern": None,
                "isolated": body["clear_stm_between"],
            },
        )

    def _observe(self, session: StoredSession, body: dict[str, Any]) -> str | None:
        settings = config.effective(session.config)
        observation = memory.ObservationInput(
            body.get("strings", ()), body.get("vectors", ()), body.get("emotives", {})
        )
        memory.observe(session, observation)
        if not observation.symbolic:
            return None
        events = memory.auto_learn(
            session,
            longest=settings["max_pattern_length"],
            rolling=settings["stm_mode"] == "ROLLING",
        )
        return self._learn(events) if events is not None else None

    def _learn(self, events: list[list[str]]) -> str:
        if self.store == "full":
            raise StoreError("a full store counts no pattern")
        key = tuple(map(tuple, events))
        single = len(memory.symbols(events)) < 2
        if not self.patterns[key] and self.writes_rows and not single:
            self.rows.add(key)
        self.patterns[key] += 1
        return "" if single else "PTRN|" + memory.pattern_name(events)

    def _pattern(self, name: str) -> Reply:
        if self.store == "down":
            return SERVER_ERROR
        for events in self.rows:
            if "PTRN|" + memory.pattern_name(list(map(list, events))) == name:
                pattern = {"name": name, "frequency": self.patterns[events]}
                return reply(200, {"pattern": {"status": "okay", "pattern": pattern}})
        return reply(200, {"pattern": {"status": "error", "message": f"Pattern {name} not found"}})

    def _save(self, session: StoredSession) -> bool:
        if self.store == "full" or not self.saves:
            return False
        memory.trim(session)
        self.saved = True
        self.sessions[session.session_id] = session
        return True


def playing(kato: ModelKato, *, random: float = 0.5) -> tuple[Player, KatoApi]:
    """Return a player that sends requests to the model, and the API to use with it.

    ``random`` replaces each random number of the API, 0.0 to 1.0.
    """
    player = Player(kato.answer, clock=kato.clock)
    store = SnapshotStore("kato")
    instances = tuple(Instance(name, "kato", f"{name}.example", 8000) for name in "abc")
    store.publish(Snapshot("kato", instances))
    pool = Pool(player.clock, lambda: random)
    failover = Failover(store, pool, player.clock, lambda: random)
    return player, KatoApi(failover, attempt_timeout=1.0)


def _observed(session: StoredSession, learned: str | None) -> dict[str, Any]:
    return {
        "status": "okay",
        "session_id": session.session_id,
        "stm_length": len(session.stm),
        "time": session.time,
        "auto_learned_pattern": learned,
    }


def _ignore(dropped: Reply) -> None:
    """Drop the reply: the client has given up on the request."""
