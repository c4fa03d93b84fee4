"""Errors: one tree of exceptions, which state what failed and whether a retry is safe.

Each error has four attributes, so that a caller can decide without parsing the message:

* ``fault``: what has to change before the call can succeed: the caller, KATO, Consul or the
  network (`Fault`);
* ``sent``: True if the request left this machine, False if it did not, None if that is unknown;
* ``safe_to_resend``: True if the same call may be made again without applying anything twice,
  False if not, None if that is unknown;
* ``retry_after``: seconds after which a retry makes sense; None if no time is known.

A message states what happened, where, and what to do. It never contains a token.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar


class Fault(StrEnum):
    """What has to change before the call can succeed."""

    CALLER = "caller"
    KATO = "kato"
    CONSUL = "consul"
    NETWORK = "network"


class KatoConsulError(Exception):
    """The root of all errors that this package raises: ``except KatoConsulError`` catches them.

    Attributes:
        fault: What has to change before the call can succeed.
        sent: True if the request left this machine, False if not, None if that is unknown.
        safe_to_resend: True if the same call may be made again without applying anything twice,
            False if not, None if that is unknown.
        retry_after: Seconds after which a retry makes sense; None if no time is known.
        applied: How many observations of a sequence were applied before this error.
        call: The call on a session that raised it, such as ``learn``; empty for other calls.
        trace_id: The ``X-Trace-ID`` of the call, if `kato_consul.trace_id` gave it one; else empty.
    """

    fault: ClassVar[Fault]
    sent: bool | None = False
    safe_to_resend: bool | None = True
    retry_after: float | None = None
    applied: int = 0
    call: str = ""
    trace_id: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} (trace id {self.trace_id})" if self.trace_id else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are pickled by process pools and task queues. The default would call the class with
        # ``args``, the message, which the subclasses' __init__ does not accept.
        return _unpickle, (type(self), self.args, self.__dict__)


def _unpickle(
    kind: type[KatoConsulError], args: tuple[Any, ...], state: dict[str, Any]
) -> KatoConsulError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class naming:  # noqa: N801  # used like a function, as contextlib's own
    """Context manager that names the caller's call in an error that leaves the block.

    A call consists of several requests. The message of the one that failed says which request it
    was, not what the caller had asked for. An error that has a call keeps it: it comes from a call
    that was made within this one, as by a ``progress`` callback.
    """

    __slots__ = ("_call",)

    def __init__(self, call: str) -> None:
        self._call = call

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, KatoConsulError) or error.call:
            return
        error.call = self._call
        text = str(error.args[0]) if error.args else ""
        if not re.match(rf"{self._call}\b", text):
            error.args = (f"{self._call}: {text}",)


def excerpt(text: str, limit: int = 300) -> str:
    """Return the first ``limit`` characters of a text from outside, for an error message."""
    stripped = text.strip()
    return stripped if len(stripped) <= limit else stripped[:limit] + "…"


# --- configuration and use ------------------------------------------------------------------


class ConfigurationError(KatoConsulError):
    """A setting is invalid. The message names the setting, its value and what is valid."""

    fault = Fault.CALLER
    safe_to_resend = False


class DefinitionError(ConfigurationError):
    """A service definition is invalid.

    Attributes:
        mistakes: All mistakes that were found, each with its place in the definition.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__("\n".join([f"{head} in the definition:", *(f"  {m}" for m in mistakes)]))


class InvalidObservation(KatoConsulError):
    """An observation cannot be sent: a symbol is not text, or a part is not JSON.

    Attributes:
        place: Where in the call's arguments it is, such as ``("strings", 1)`` or ``("observations",
            0, "emotives", "joy")``; empty if that is not known.
    """

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, text: str, place: Sequence[str | int] = ()) -> None:
        self.place = tuple(place)
        super().__init__(text)


class ClientClosed(KatoConsulError):
    """The client was closed, or it belongs to another event loop or process. ``sent`` is True if
    a request of the call had left when the client was closed."""

    fault = Fault.CALLER
    safe_to_resend = False


class NoThread(KatoConsulError):
    """The system starts no more threads for this process, and a sync client needs one. Nothing was
    sent."""

    fault = Fault.CALLER

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"the thread {name!r} could not be started: {reason}. The process has reached a limit "
            f"of the system (ulimit -u, or pids.max of its container), or is ending"
        )


# --- Consul ---------------------------------------------------------------------------------


class ConsulError(KatoConsulError):
    """A request to Consul failed. ``sent`` refers to this request."""

    fault = Fault.CONSUL
    sent = True


class ConsulUnreachable(ConsulError):
    """The agent did not answer: the connection was refused or cut, or the request timed out.

    Attributes:
        address: The agent's address.
        reason: Why there was no answer.
    """

    fault = Fault.NETWORK

    def __init__(self, address: str, reason: str, *, sent: bool = False) -> None:
        self.address = address
        self.reason = reason
        self.sent = sent
        super().__init__(
            f"no answer from Consul at {address}: {reason}. Is an agent running there? "
            f"Set another address with CONSUL_HTTP_ADDR or --consul"
        )


class ConsulUnavailable(ConsulError):
    """The agent cannot serve now: no leader, overload or a rate limit (429 or 5xx).

    Attributes:
        address: The agent's address.
        status: The HTTP status.
        retry_after: Seconds of the ``Retry-After`` header; None without one.
    """

    def __init__(self, address: str, status: int, body: str, retry_after: float | None) -> None:
        self.address = address
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"Consul at {address} cannot serve now: {status} {excerpt(body)}".rstrip())


class ConsulDenied(ConsulError):
    """Consul's ACL system refused the request (403): the token is unknown or lacks a permission.

    Attributes:
        address: The agent's address.
    """

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, address: str, what: str, body: str) -> None:
        self.address = address
        super().__init__(
            f"Consul at {address} denied {what}: {excerpt(body) or '403'}. "
            f"Set a token with this permission in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"
        )


class ConsulRejected(ConsulError):
    """Consul rejected the request (another 4xx), or its response cannot be parsed.

    Attributes:
        address: The agent's address.
        status: The HTTP status.
    """

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, address: str, what: str, status: int, body: str) -> None:
        self.address = address
        self.status = status
        super().__init__(f"Consul at {address} rejected {what}: {status} {excerpt(body)}".rstrip())


class NotPassing(ConsulError):
    """The instances were registered, but not all of them were passing in time.

    Attributes:
        waiting: The last output of its checks, for the id of each instance that is not passing.
    """

    fault = Fault.KATO

    def __init__(self, waited: float, waiting: Mapping[str, str]) -> None:
        self.waiting = dict(waiting)
        lines = [f"  {instance}: {reason}" for instance, reason in self.waiting.items()]
        super().__init__(
            "\n".join(
                [
                    f"not passing after {waited:g} s; the run is rolled back:",
                    *lines,
                ]
            )
        )


class StillRegistered(ConsulError):
    """Instances were to be deregistered, and Consul still lists them: another node has them, or a
    registrar that runs has registered them again.

    Attributes:
        reasons: Why, and what to do, for the id of each such instance.
    """

    fault = Fault.CALLER

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        lines = [f"  {instance}: {reason}" for instance, reason in self.reasons.items()]
        super().__init__("\n".join(["still registered:", *lines]))


# --- discovery ------------------------------------------------------------------------------


class DiscoveryError(KatoConsulError):
    """There is no instance to send a request to."""

    fault = Fault.KATO


class UnknownService(DiscoveryError):
    """Consul has no service of this name.

    Attributes:
        service: The name.
        known: The names of all registered services.

    Args:
        service: The name.
        known: The names of all registered services.
        register: A command that registers it, for the message.
    """

    fault = Fault.CALLER

    def __init__(
        self, service: str, known: Sequence[str], *, register: str = "kato-consul register"
    ) -> None:
        self.service = service
        self.known = tuple(known)
        names = ", ".join(known) if known else "none"
        text = (
            f"Consul has no service {service!r}. Registered services: {names}. "
            f"Register it with '{register}', or name another one with --service"
        )
        if "consul" not in known:  # the servers register themselves
            text += (
                ". But the token may not read all services, since Consul's own is not listed: set "
                "one that may read this one in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE"
            )
        super().__init__(text)


class NoInstances(DiscoveryError):
    """No instance of the service can be used: none is registered, or none is passing.

    Attributes:
        service: The service's name.
    """

    def __init__(self, service: str, reason: str, *, query_description: str = "") -> None:
        """``query_description`` is what was queried in addition to the name, such as a tag."""
        self.service = service
        super().__init__(f"no instance of {service!r}{query_description} can be used: {reason}")


# --- calls to KATO --------------------------------------------------------------------------


class KatoError(KatoConsulError):
    """A call to KATO failed."""

    fault = Fault.KATO


class RequestNotSent(KatoError):
    """No instance accepted the request before the deadline, or the session's earlier calls did not
    end before it. Nothing was applied.

    ``sent`` is False if no byte of it was sent. It is True if an instance received the request and
    refused to process it, such as with a 429.
    """

    fault = Fault.NETWORK


class SessionDirectoryUnavailable(RequestNotSent):
    """The session directory did not answer before the deadline, or refused what it was asked for.
    Without it, it is not certain that this process alone writes to the session.

    Attributes:
        directory: What it is, and where, without credentials: ``Consul at 127.0.0.1:8500``.
        denied: True if it refused for want of a permission, or of the right password.
    """

    def __init__(self, directory: str, text: str, *, denied: bool = False) -> None:
        self.directory = directory
        self.denied = denied
        super().__init__(f"session directory ({directory}): {text}. Nothing was sent to KATO")


class SessionOwnedElsewhere(RequestNotSent):
    """Another process owns the session, and did not release it before the deadline.

    Attributes:
        key: The caller's key.
        owner: The process that owns it, as ``host:pid``.
    """

    def __init__(self, key: str, owner: str, text: str) -> None:
        self.key = key
        self.owner = owner
        super().__init__(
            f"session {key!r} is owned by {owner}: {text}. Nothing was sent to KATO. Try again "
            f"later: it is released after the call in hand. If that process was killed, or hangs "
            f"and you end it, its sessions are taken over within 4 s"
        )


class SessionBusy(RequestNotSent):
    """A session was used from within one of its own calls, such as from a log handler. That call
    would wait for itself. A ``progress`` callback of a sync session may use it."""

    fault = Fault.CALLER


class IdempotencyKeyReused(KatoError):
    """An idempotency key was used for another call before: other arguments, or another method.
    Nothing was sent. Use a new key for each call, and the same only to repeat one.

    Attributes:
        key: The idempotency key.
    """

    fault = Fault.CALLER
    safe_to_resend = False

    def __init__(self, key: str, what: str) -> None:
        self.key = key
        super().__init__(
            f"{what}: the idempotency key {key!r} was used for another call of this session "
            f"before. Nothing was sent. Use a new key for each call, the same only to repeat one"
        )


class NoResponse(KatoError):
    """A request that is safe to repeat was sent to all instances until the deadline. No instance
    returned a valid answer.

    Attributes:
        server_error: True if the last instance returned a 500: its application failed.
    """

    sent = True

    def __init__(self, text: str, *, server_error: bool = False) -> None:
        self.server_error = server_error
        super().__init__(text)


class OutcomeUnknown(KatoError):
    """The request was sent, and no complete answer was received: it may or may not have been
    applied. It was not retried.

    Attributes:
        what: The call, such as ``observe``.
        instance: The service id of the instance that it was sent to.
        reason: Why there is no complete answer.
        hung: True if the instance did not respond but the connection stayed open: the instance
            may still apply the request.
        answered: True if KATO itself returned an error: it has finished with the request.
        closed: True if the client was closed meanwhile, so that no later call can settle it.
        pattern: Of a ``learn``: the name of the pattern that it makes, ``PTRN|…``, as for
            ``node.pattern``; else empty.
        unsettled: Why reading the session back did not reveal the outcome; empty if this was not
            tried.
    """

    sent = True
    safe_to_resend = None

    def __init__(
        self,
        what: str,
        instance: str,
        reason: str,
        *,
        hung: bool = False,
        answered: bool = False,
        closed: bool = False,
        pattern: str = "",
        unsettled: str = "",
    ) -> None:
        self.what = what
        self.instance = instance
        self.reason = reason
        self.hung = hung
        self.answered = answered
        self.closed = closed
        self.pattern = pattern
        self.unsettled = unsettled
        text = (
            f"{what} on {instance} may or may not have been applied: {reason}. It was not retried"
        )
        if unsettled:
            text += f". Its outcome could not be read: {unsettled}"
            if not closed:
                text += ". Call settle() next: it reads the outcome again"
        super().__init__(text)

    def because(self, why: object) -> "OutcomeUnknown":
        """Return the same error with the reason (a text or an error) why it is not settled."""
        return OutcomeUnknown(
            self.what,
            self.instance,
            self.reason,
            hung=self.hung,
            answered=self.answered,
            closed=isinstance(why, ClientClosed),
            pattern=self.pattern,
            unsettled=str(why),
        )


class PatternNotStored(KatoError):
    """KATO acknowledged the learn and counted the pattern, but its pattern store does not show it:
    the pattern takes part in no prediction.

    A KATO that stops in the middle of a first learn leaves a pattern that is counted without a row,
    and never writes the row. If only its ClickHouse was away, that instance writes it with the next
    new pattern of the node (measured on KATO 3.10.1). The memory is empty, as after any learn.

    Attributes:
        pattern: The pattern's name, ``PTRN|…``.
    """

    sent = True
    safe_to_resend = False

    def __init__(self, what: str, node_id: str, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(
            f"{what}: KATO counted {pattern} of node {node_id!r}, but its pattern store does not "
            f"show it, so it is in no prediction. An earlier learn of it was interrupted. Look "
            f"again when its ClickHouse runs: an instance that could not write the row does so "
            f"later. If that instance was stopped meanwhile, only clear_all removes the count"
        )


class SessionConflict(KatoError):
    """The session's state in KATO is not the one this client wrote, and the journal does not
    explain the difference. Most likely another client writes to the session.

    Attributes:
        call_applied: Whether this call is in the session (of ``settle``: the call that it
            settles). True: the memory that KATO has shows it. False: it was not sent. None: it was
            sent, and the memory does not show it. An equal event of another writer looks the same.
        key: The session's key in this client.
        session_id: The session's id in KATO.
        expected: The ``time`` (KATO's count of observations) that this client expected.
        found: The ``time`` in KATO.
        expected_stm: The events in short-term memory that this client expected.
        found_stm: The events in short-term memory in KATO.
    """

    sent = True
    safe_to_resend = False
    call_applied: bool | None = False

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
            f"{len(found_stm)} events. Does another client write to it?"
        )

    def __str__(self) -> str:
        return f"{super().__str__()} {_CALL_IS[self.call_applied]}"


_CALL_IS = {
    True: "This call is in it",
    False: "This call was not sent",
    None: "This call was sent, and is not seen in it",
}


class SessionGone(KatoError):
    """The session no longer exists in KATO: it expired, it was deleted, or the store was emptied.

    Attributes:
        key: The session's key in this client.
        session_id: The session's id in KATO.
    """

    sent = True

    def __init__(self, key: str, session_id: str) -> None:
        self.key = key
        self.session_id = session_id
        super().__init__(
            f"session {key!r} ({session_id}) is gone from KATO: expired, deleted, or its store "
            f"was emptied"
        )


class StoreUnavailable(KatoError):
    """The instances answer, but a store behind them is down or does not accept writes: the call is
    not applied.

    KATO itself then returns 404 "not found or expired". That counts as a missing session only if
    KATO's ``exists`` call confirms it.

    Attributes:
        what: The request that was not applied, such as ``observe``.
    """

    sent = True

    def __init__(self, what: str, last_answer: str, *, store: str = "Redis") -> None:
        self.what = what
        super().__init__(
            f"{what}: KATO answers, but until the deadline its store was down or accepted no "
            f"writes (last answer: {last_answer}). Is its {store} running, and not full?"
        )


class KatoAnswerError(KatoError):
    """KATO returned an error.

    Attributes:
        what: The call, such as ``learn``.
        instance: The service id of the instance that returned it.
        status: The HTTP status.
        detail: The complete ``detail`` of KATO's response.
        body: The response itself, as bytes; empty if no request was needed to find the error.
        content_type: The media type of the response, such as ``application/json``.
    """

    sent = True
    safe_to_resend = False
    body: bytes = b""
    content_type: str = ""

    def __init__(self, what: str, instance: str, status: int, detail: Any) -> None:
        self.what = what
        self.instance = instance
        self.status = status
        self.detail = detail
        super().__init__(f"{what} on {instance}: {status} {detail}")


class BadRequest(KatoAnswerError):
    """400: for example, a learn with an empty short-term memory."""

    fault = Fault.CALLER


class NotFound(KatoAnswerError):
    """404: something other than a session does not exist."""

    fault = Fault.CALLER


class ValidationFailed(KatoAnswerError):
    """422: KATO could not accept the request's fields. ``detail`` lists them."""

    fault = Fault.CALLER


class ServerFailed(KatoAnswerError):
    """Any other status, or a body that is not KATO's."""


class GatewayRefused(ServerFailed):
    """401, 403, 407 or a redirection: something in front of KATO answered in its place. The message
    names the setting that changes it. Nothing was applied."""

    fault = Fault.CALLER
    safe_to_resend = True

    @property
    def lacks_credentials(self) -> bool:
        """True for 401 and 407: the request was not applied (RFC 9110, 15.5.2). A gateway that
        returns another of these statuses may have forwarded it."""
        return self.status in (401, 407)
