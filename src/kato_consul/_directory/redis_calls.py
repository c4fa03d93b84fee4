"""Calls to the directory's Redis: repeated until the deadline, and what its errors mean."""

from dataclasses import dataclass
from typing import Any

from kato_consul._backoff import Backoff, full_jitter
from kato_consul._directory.redis_script import Script
from kato_consul._directory.redis_url import check_redis, redis_name, uses_tls
from kato_consul._flow import (
    Cause,
    Clock,
    Failure,
    Flow,
    Random,
    RedisCommands,
    RedisOutcome,
    RedisRefused,
    RedisReply,
    Sleep,
)
from kato_consul._secret import Secret
from kato_consul.errors import SessionDirectoryUnavailable

COMMAND_TIMEOUT = 1.0
"""Seconds for a reply, which takes less than one millisecond. A lease is twice as long."""

SHORTEST_TIMEOUT = 0.1
"""Seconds that a command may take at least, however little time is left for it."""

REPLICA_TIMEOUT = 0.25
"""Seconds to wait until a replica has what was written. It has it within a millisecond or so,
unless it hangs; then calls go on, with an entry that a failover may lose."""

REDIS_WAIT = Backoff(initial=0.02, maximum=0.4)
"""For a server that does not answer, or that is not ready: 0.02, 0.04, … 0.4 s at most."""

COMMANDS = (
    "blpop",
    "del",
    "eval",
    "evalsha",
    "exists",
    "get",
    "hdel",
    "hget",
    "hmget",
    "hset",
    "info",
    "lindex",
    "llen",
    "lpop",
    "lpos",
    "lrem",
    "persist",
    "pexpire",
    "pttl",
    "rpush",
    "sadd",
    "scan",
    "select",
    "set",
    "smembers",
    "srem",
    "time",
    "wait",
)
"""What an ACL must permit, on the keys of the service."""

_NOT_READY = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "TRYAGAIN"}
)
"""Codes of a server that is starting, or that is not the master, or that may be replaced by one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to a script. ``sent_at`` is when that was sent which was answered, on the clock of
    leases. ``replicated`` is False if no replica has confirmed it in time."""

    values: list[Any]
    sent_at: float
    replicated: bool = True

    @property
    def status(self) -> str:
        """The reply's first value."""
        return bytes(self.values[0]).decode()


class RedisCalls:
    """Calls to one Redis, for the keys of one service."""

    def __init__(
        self, url: Secret, service: str, *, clock: Clock, random: Random, now: Clock
    ) -> None:
        """``clock`` is that of deadlines, ``now`` that of leases.

        Raises:
            ConfigurationError: the URL cannot be used, or redis-py is not installed.
        """
        check_redis(url)
        self.name = redis_name(url)
        self.prefix = f"kato-consul:{{{service}}}:"
        self.clock = clock
        self._url, self._random, self._now = url, random, now

    def run(
        self,
        script: Script,
        *arguments: str | bytes | int,
        deadline: float,
        replicate: bool = False,
    ) -> Flow[Answer]:
        """Flow: execute a script. ``replicate``: wait until a replica has what it wrote.

        Raises:
            SessionDirectoryUnavailable: it did not answer before the deadline, or it refused.
        """
        arguments = self.prefix, *arguments
        known = True  # the server knows the script, until it says that it does not
        pauses, failed = full_jitter(REDIS_WAIT, self._random), None
        while True:
            called = ("EVALSHA", script.sha) if known else ("EVAL", script.text)
            commands: tuple[tuple[str | bytes | int, ...], ...] = ((*called, 0, *arguments),)
            if replicate:
                commands = *commands, ("WAIT", 1, round(REPLICA_TIMEOUT * 1000))
            sent_at = self._now()
            outcome = yield from self.send(commands, deadline)
            if isinstance(outcome, RedisReply):
                replicated = not replicate or outcome.values[1] > 0
                return Answer(outcome.values[0], sent_at, replicated)
            if isinstance(outcome, RedisRefused) and outcome.code == "NOSCRIPT":
                known = False
                continue
            failed = yield from self._pause_or_raise(
                outcome, failed, script.name, next(pauses), deadline
            )

    def scan(self, pattern: str, deadline: float) -> Flow[list[bytes]]:
        """Flow: return the keys that match, without the prefix and each once.

        Raises:
            SessionDirectoryUnavailable: it did not answer before the deadline, or it refused.
        """
        found: dict[bytes, None] = {}
        prefix, cursor = self.prefix.encode(), b"0"
        pauses, failed = full_jitter(REDIS_WAIT, self._random), None
        escaped = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self.prefix)
        while True:
            command = ("SCAN", cursor, "MATCH", escaped + pattern, "COUNT", 1000)
            outcome = yield from self.send((command,), deadline)
            if not isinstance(outcome, RedisReply):
                failed = yield from self._pause_or_raise(
                    outcome, failed, "listing", next(pauses), deadline
                )
                continue
            cursor, keys = outcome.values[0]
            found.update(dict.fromkeys(key.removeprefix(prefix) for key in keys))
            if int(cursor) == 0:
                return list(found)

    def send(
        self, commands: tuple[tuple[str | bytes | int, ...], ...], deadline: float
    ) -> Flow[RedisOutcome]:
        """Flow: send commands once."""
        left = max(deadline - self.clock(), SHORTEST_TIMEOUT)
        outcome: RedisOutcome = yield RedisCommands(self._url, commands, min(COMMAND_TIMEOUT, left))
        return outcome

    def receive(self, key: str, seconds: float) -> Flow[RedisOutcome]:
        """Flow: wait for the first element of a list, ``seconds`` at most."""
        timeout = seconds + COMMAND_TIMEOUT
        command = ("BLPOP", self.prefix + key, f"{seconds:g}")
        outcome: RedisOutcome = yield RedisCommands(self._url, (command,), timeout)
        return outcome

    def _pause_or_raise(
        self,
        outcome: RedisRefused | Failure,
        before: RedisRefused | Failure | None,
        what: str,
        pause: float,
        deadline: float,
    ) -> Flow[RedisRefused | Failure]:
        """Flow: pause before the next attempt. ``before`` is why the attempt before failed.

        Returns why this one failed.
        """
        left = deadline - self.clock()
        if left <= 0 and before is not None and _cut_short(outcome):
            outcome = before
        if left <= 0 or not _may_pass(outcome):
            error = outcome.error if isinstance(outcome, Failure) else None
            denied = isinstance(outcome, RedisRefused) and outcome.code in ("NOAUTH", "NOPERM")
            text = f"{what}: {self.explain(outcome)}"
            raise self.unavailable(text, denied=denied) from error
        yield Sleep(min(pause, left))
        return outcome

    def unavailable(self, text: str, *, denied: bool = False) -> SessionDirectoryUnavailable:
        """Return the error of this directory."""
        return SessionDirectoryUnavailable(self.name, text, denied=denied)

    def explain(self, outcome: RedisRefused | Failure) -> str:
        """Return what went wrong, and what to do."""
        if isinstance(outcome, Failure):
            hint = self._tls_hint(outcome)
            if outcome.cause is Cause.TLS:
                return f"{outcome}: {hint}"
            return f"{outcome}: {_NO_ANSWER}{f'; {hint}' if hint else ''}"
        hint = _HINTS.get(outcome.code, "")
        if outcome.code == "NOPERM":
            rules = " ".join(f"+{command}" for command in COMMANDS)
            hint = f"the user of the URL needs the ACL rules ~{self.prefix}* {rules}"
        message = outcome.message.rstrip(".")
        return f"Redis refused it: {message}{f': {hint}' if hint else ''}"

    def _tls_hint(self, failure: Failure) -> str:
        """Return what may be wrong with TLS; "" if that is not why."""
        if failure.cause is Cause.CUT and not uses_tls(self._url):
            return "use rediss:// if it has TLS"  # it closes a connection that begins otherwise
        if failure.bytes_sent:
            return ""
        if failure.cause is Cause.TLS:
            return _TLS_FILES
        if uses_tls(self._url):
            # Redis without TLS waits for the rest of what it takes for a command.
            silent = failure.cause in (Cause.NOT_TLS, Cause.TIMEOUT)
            return "use redis:// if it has no TLS" if silent else ""
        was_connected = failure.cause is Cause.CONNECT and "connecting to" not in failure.detail
        return "use rediss:// if it has TLS" if was_connected else ""


def _cut_short(outcome: RedisRefused | Failure) -> bool:
    """Return whether there was no time to send anything: that does not show what is wrong."""
    if not isinstance(outcome, Failure) or outcome.bytes_sent:
        return False
    return outcome.cause is Cause.TIMEOUT


def _may_pass(outcome: RedisRefused | Failure) -> bool:
    """Return whether trying again may help, without anything being corrected first."""
    if isinstance(outcome, RedisRefused):
        return outcome.code in _NOT_READY
    return outcome.cause not in (Cause.TLS, Cause.NOT_TLS)


_HINTS = {
    "OOM": (
        "it is full. Raise its maxmemory, and let its maxmemory-policy be noeviction: with another "
        "one it removes sessions"
    ),
    "NOAUTH": "set the user and the password in the URL of the session directory",
    "READONLY": "it is a replica. The URL must lead to the master, also after a failover",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write",
    "MOVED": "a Redis Cluster cannot be used. Use a single server with replicas",
    "CROSSSLOT": "a Redis Cluster cannot be used. Use a single server with replicas",
}

_NO_ANSWER = "is it running there? KATO_CONSUL_SESSION_DIRECTORY has its URL"

_TLS_FILES = (
    "if its CA is your own, add ?ssl_ca_certs=/path to the URL; if it asks for a certificate, "
    "ssl_certfile and ssl_keyfile"
)
