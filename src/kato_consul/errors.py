"""Everything that can go wrong, as one tree.

Each error answers four questions, so that a caller can decide without parsing words:

* ``fault``: who has to change something: the caller, KATO, Consul or the network;
* ``sent``: did the request leave this machine? ``None`` where nobody can know;
* ``safe_to_resend``: may the same call be made again without doing anything twice?
* ``retry_after``: seconds after which that makes sense; ``None`` when nothing suggests a time.

The words of an error say what happened, where, and what to do. They never hold a token.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar


class Fault(StrEnum):
    """Who has to change something before the call can succeed."""

    CALLER = "caller"
    KATO = "kato"
    CONSUL = "consul"
    NETWORK = "network"


class KatoConsulError(Exception):
    """The root: ``except KatoConsulError`` catches whatever this package raises on purpose."""

    fault: ClassVar[Fault]
    sent: bool | None = False
    safe_to_resend: bool | None = True
    retry_after: float | None = None
    applied: int = 0
    """Of a long sequence: how many of its observations were applied before this error."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process pools and task queues; their own __init__ would not take ``args``.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[KatoConsulError], args: tuple[Any, ...], state: dict[str, Any]
) -> KatoConsulError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def excerpt(text: str, most: int = 300) -> str:
    """The beginning of somebody's words, for an error."""
    words = text.strip()
    return words if len(words) <= most else words[:most] + "…"


# --- what the caller wrote ------------------------------------------------------------------


class ConfigurationError(KatoConsulError):
    """A setting that cannot be used: names the setting, its value and what would do."""

    fault = Fault.CALLER
    safe_to_resend = False


class DefinitionError(ConfigurationError):
    """A service definition that cannot be used. ``mistakes`` holds them all, with their places."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__("\n".join([f"{head} in the definition:", *(f"  {m}" for m in mistakes)]))


class ClientClosed(KatoConsulError):
    """A call on a client that was closed, or that belongs to another event loop."""

    fault = Fault.CALLER
    safe_to_resend = False


# --- Consul ---------------------------------------------------------------------------------


class ConsulError(KatoConsulError):
    """Consul did not do what was asked. ``sent`` is about the request to Consul."""

    fault = Fault.CONSUL
    sent = True


class ConsulUnreachable(ConsulError):
    """No answer from the agent at ``address``: refused, timed out or cut."""

    fault = Fault.NETWORK

    def __init__(self, address: str, reason: str, *, sent: bool = False) -> None:
        self.address = address
        self.reason = reason
        self.sent = sent
        super().__init__(
            f"no answer from Consul at {address}: {reason}. Is an agent running there? "
            f"Another address is set with CONSUL_HTTP_ADDR or --consul"
        )


class ConsulUnavailable(ConsulError):
    """The agent answered that it cannot serve now: no leader, overloaded, rate limit (429, 5xx)."""

    def __init__(self, address: str, status: int, body: str, retry_after: float | None) -> None:
        self.address = address
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"Consul at {address} cannot serve now: {status} {excerpt(body)}".rstrip())


class ConsulDenied(ConsulError):
    """The ACL system refused the call (403): the token lacks a permission, or is unknown."""

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, address: str, what: str, body: str) -> None:
        self.address = address
        super().__init__(
            f"Consul at {address} denied {what}: {excerpt(body) or '403'}. "
            f"Give a token that may do this with CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"
        )


class ConsulRejected(ConsulError):
    """Consul will not have the request (another 4xx), or its answer cannot be read."""

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, address: str, what: str, status: int, body: str) -> None:
        self.address = address
        self.status = status
        super().__init__(f"Consul at {address} rejected {what}: {status} {excerpt(body)}".rstrip())


class NotPassing(ConsulError):
    """Registered, but Consul did not call every instance passing in time.

    ``waiting`` maps the id of each instance to what its checks said last.
    """

    fault = Fault.KATO

    def __init__(self, waited: float, waiting: Mapping[str, str]) -> None:
        self.waiting = dict(waiting)
        lines = [f"  {instance}: {reason}" for instance, reason in self.waiting.items()]
        super().__init__(
            "\n".join(
                [
                    f"not passing after {waited:g} s; what this run registered is taken out again:",
                    *lines,
                ]
            )
        )


# --- discovery ------------------------------------------------------------------------------


class DiscoveryError(KatoConsulError):
    """There is nobody to send a request to."""

    fault = Fault.KATO


class UnknownService(DiscoveryError):
    """Consul knows no service of this name; ``known`` are the names it does know."""

    fault = Fault.CALLER

    def __init__(self, service: str, known: Sequence[str]) -> None:
        self.service = service
        self.known = tuple(known)
        there = ", ".join(known) if known else "none"
        super().__init__(
            f"Consul knows no service {service!r}. Services there are: {there}. "
            f"Register one with 'kato-consul register', or name another with --service"
        )


class NoInstances(DiscoveryError):
    """The service is known, but no instance may be used: none registered, or none passing.

    ``asked``: what else was looked for, such as a tag.
    """

    def __init__(self, service: str, why: str, *, asked: str = "") -> None:
        self.service = service
        super().__init__(f"no instance of {service!r}{asked} can be used: {why}")


# --- calls to KATO --------------------------------------------------------------------------


class KatoError(KatoConsulError):
    """A call to KATO did not come to a good end."""

    fault = Fault.KATO


class RequestNotSent(KatoError):
    """No instance took the request before the deadline. Provably nothing left, nothing happened."""

    fault = Fault.NETWORK


class NoResponse(KatoError):
    """Something harmless was asked of all instances until the deadline; no good answer came."""

    sent = True


class OutcomeUnknown(KatoError):
    """The request left and no whole answer came back: it may have been applied, or not.

    It was not repeated. ``what`` names the call, ``instance`` the service id it went to; ``hung``
    says that the instance was silent, rather than gone: it may still come to it. ``unsettled`` is
    why reading it back did not tell either, when that was tried.
    """

    sent = True
    safe_to_resend = None

    def __init__(
        self, what: str, instance: str, reason: str, *, hung: bool = False, unsettled: str = ""
    ) -> None:
        self.what = what
        self.instance = instance
        self.reason = reason
        self.hung = hung
        self.unsettled = unsettled
        text = f"{what} on {instance} may have been applied, or not: {reason}. It was not repeated"
        if unsettled:
            text += f". Reading it back: {unsettled}. The session's next call settles it"
        super().__init__(text)

    def because(self, error: KatoConsulError) -> "OutcomeUnknown":
        """The same, with the reason why it could not be settled."""
        return OutcomeUnknown(
            self.what, self.instance, self.reason, hung=self.hung, unsettled=str(error)
        )


class SessionConflict(KatoError):
    """KATO's session is not what this client left there, and the journal cannot prove why.

    Most likely somebody else writes to it. ``expected`` and ``found`` are values of ``time``,
    KATO's count of observations; ``expected_stm`` and ``found_stm`` are the events.
    """

    sent = True
    safe_to_resend = False

    def __init__(
        self,
        key: str,
        session_id: str,
        *,
        expected: int,
        found: int,
        expected_stm: Sequence[Sequence[str]],
        found_stm: Sequence[Sequence[str]],
    ) -> None:
        self.key = key
        self.session_id = session_id
        self.expected = expected
        self.found = found
        self.expected_stm = [list(event) for event in expected_stm]
        self.found_stm = [list(event) for event in found_stm]
        super().__init__(
            f"session {key!r} ({session_id}) is not as this client left it: expected time "
            f"{expected} and {len(expected_stm)} events, found time {found} and "
            f"{len(found_stm)} events. Does somebody else write to it?"
        )


class SessionGone(KatoError):
    """KATO has no such session any more: expired, deleted, or its store was emptied."""

    sent = True

    def __init__(self, key: str, session_id: str) -> None:
        self.key = key
        self.session_id = session_id
        super().__init__(
            f"session {key!r} ({session_id}) is gone from KATO: expired, deleted, or its store "
            f"was emptied"
        )


class StoreUnavailable(KatoError):
    """The instances answer, but the store behind them does not, or takes no writes.

    KATO itself says 404 "not found or expired" then; it is not believed while ``exists`` does not
    say so too.
    """

    sent = True

    def __init__(self, what: str, said: str) -> None:
        super().__init__(
            f"{what}: KATO answers, but its store is away or takes no writes, until the deadline "
            f"(last answer: {said}). Is its Redis up, and not full?"
        )


class KatoAnswerError(KatoError):
    """KATO answered with an error of its own. ``status`` is HTTP's, ``detail`` is KATO's, whole."""

    sent = True
    safe_to_resend = False

    def __init__(self, what: str, instance: str, status: int, detail: Any) -> None:
        self.what = what
        self.instance = instance
        self.status = status
        self.detail = detail
        super().__init__(f"{what} on {instance}: {status} {detail}")


class BadRequest(KatoAnswerError):
    """400: for example, learning from an empty short-term memory."""

    fault = Fault.CALLER


class NotFound(KatoAnswerError):
    """404 for something other than a session."""

    fault = Fault.CALLER


class ValidationFailed(KatoAnswerError):
    """422: ``detail`` lists the fields KATO could not accept."""

    fault = Fault.CALLER


class ServerFailed(KatoAnswerError):
    """Another status that KATO should not have answered with, or a body that is not its own."""
