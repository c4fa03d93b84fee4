"""What many tests need to put together: instances, snapshots, answers and failures."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from kato_consul._flow import Cause, Failure, Outcome, Reply, Send
from kato_consul.models import Health, Instance, Snapshot
from kato_consul.testing.clock import ManualClock


def instance(
    id: str = "kato-1",  # noqa: A002 - it is what Consul calls it
    health: Health = Health.PASSING,
    *,
    address: str = "",
    weight: int = 1,
    output: str = "",
) -> Instance:
    """An instance of the service ``kato``; its address is made of its id unless given."""
    return Instance(id, "kato", address or f"{id}.test", 8000, health, weight=weight, output=output)


def snapshot(*instances: Instance, index: int = 1) -> Snapshot:
    """A snapshot of the service ``kato``."""
    return Snapshot("kato", instances, index)


def reply(status: int = 200, body: Any = b"", **headers: str) -> Reply:
    """A whole answer; a body that is not bytes goes as JSON. ``retry_after`` is ``retry-after``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content
    )


def refused() -> Failure:
    """The connection was refused: nothing left."""
    return Failure(Cause.CONNECT, bytes_sent=False, detail="refused")


def hung() -> Failure:
    """Sent, and silence."""
    return Failure(Cause.TIMEOUT, bytes_sent=True, detail="")


def cut() -> Failure:
    """Sent, and the connection was cut."""
    return Failure(Cause.CUT, bytes_sent=True, detail="reset")


class ScriptEnds(Exception):
    """A request was made for which a script has no answer."""


def script(
    outcomes: Iterable[Outcome], clock: ManualClock | None = None
) -> Callable[[Send], Outcome]:
    """Answers one by one. With a ``clock``, one that times out takes its time."""
    left = list(outcomes)

    def answer(send: Send) -> Outcome:
        if not left:
            raise ScriptEnds(f"{send.method} {send.target}")
        outcome = left.pop(0)
        if clock and isinstance(outcome, Failure) and outcome.cause is Cause.TIMEOUT:
            clock.advance(send.timeout)
        return outcome

    return answer
