"""Gathering the facts of a deployment: Consul first, then each instance, as a client would ask."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from kato_consul._consul.api import ConsulApi, ConsulCall, T, execute
from kato_consul._doctor.facts import Facts, InstanceFacts
from kato_consul._flow import Failure, Flow, Outcome, Reply, Send
from kato_consul._registration.health_probe import PROBE_NODE_ID
from kato_consul._registration.instance_info import field_of
from kato_consul._registration.worker_count import THOROUGH_CONNECTIONS, count_workers
from kato_consul.errors import ConsulDenied, ConsulError, ConsulUnreachable
from kato_consul.models import Instance

ANSWER_WITHIN = 5.0
"""Seconds an instance has for each answer."""

STORE_CALL = "/sessions/kato-consul-doctor/exists"
"""The cheapest call that needs the store: 200 when it answers, 500 when not."""

NO_LEADER = "No cluster leader"
"""Consul's words (structs.ErrNoLeader)."""

SHORT_LIFE = 60
"""Seconds that a session of ours lives, should it not come to its deletion."""

Wall = Callable[[], float]
"""Seconds since the epoch, as `time.time` gives them."""


@dataclass
class FactCollector:
    """The means of an examination."""

    api: ConsulApi
    service: str
    keepalive: float
    wall: Wall

    def consul(self) -> Flow[Facts]:
        """Flow: what Consul says, the instances among it."""
        trouble = _FirstError()
        try:
            return (yield from self._consul(trouble))
        except ConsulUnreachable as error:
            return Facts(self.service, self.keepalive, unreachable=str(error))

    def _consul(self, trouble: "_FirstError") -> Flow[Facts]:
        call = self.api.leader()
        answer: Outcome = yield call.send
        skew = self._skew(answer) if isinstance(answer, Reply) else None
        leader = yield from trouble.unless(call)
        snapshot = yield from trouble.unless(self.api.health(self.service))
        nowhere = yield from trouble.unless(self._without_address())
        yield from trouble.unless(self.api.agent_services())
        if any(NO_LEADER in words for words in trouble.failing.values()):
            leader = ""  # the question for it fails like all others, after a while
        return Facts(
            self.service,
            self.keepalive,
            leader=leader,
            skew=skew,
            failing=trouble.failing,
            denied=trouble.denied,
            allowed=(yield from self._allowed()),
            instances=None
            if snapshot is None
            else tuple(
                InstanceFacts(one, no_address=(one.node, one.id) in (nowhere or ()))
                for one in snapshot.instances
            ),
        )

    def instance(self, one: InstanceFacts) -> Flow[InstanceFacts]:
        """Flow: what one instance says of itself."""
        health = yield from _asked(one.instance, "/health")
        if isinstance(health, Failure):
            return replace(one, unreachable=str(health))
        said = field_of(health, "status")
        skew = self._skew(health)
        store = yield from _store(one.instance)
        status = yield from _asked(one.instance, "/status")
        processes = yield from count_workers(
            one.instance.origin, ANSWER_WITHIN, most=THOROUGH_CONNECTIONS
        )
        return replace(
            one,
            health=said if isinstance(said, str) else None,
            skew=skew,
            store_status=store.status if isinstance(store, Reply) else None,
            version=_text(status, "version"),
            base_processor_id=_text(status, "base_processor_id"),
            workers=processes,
        )

    def _allowed(self) -> Flow[dict[str, bool]]:
        """What the ACL system says that the token may: writing cannot be tried without doing it,
        and what may not be read is hidden, not refused.

        The endpoint is the one that Consul's own user interface asks; without ACLs it allows all.
        """
        asked = [("service", "write", self.service), ("service", "read", self.service)]
        asked.append(("node", "read", ""))  # of any node
        send = replace(
            self.api.agent_services().send,  # it has the token; one for the leader has none
            method="POST",
            target="/v1/internal/acl/authorize",
            body=json.dumps(
                [{"Resource": one, "Access": way, "Segment": name} for one, way, name in asked]
            ).encode(),
        )
        outcome: Outcome = yield send
        if not isinstance(outcome, Reply):
            return {}
        names = [f"{one}:{way}" for one, way, _ in asked]
        if b"ACL support disabled" in outcome.body:
            return dict.fromkeys(names, True)
        try:
            answers = [bool(one["Allow"]) for one in json.loads(outcome.body)]
            return dict(zip(names, answers, strict=True))
        except (ValueError, TypeError, LookupError):
            return {}

    def _without_address(self) -> ConsulCall[set[tuple[str, str]]]:
        """A call for the node and id of those that have no address of their own in the catalog."""

        def parse(reply: Reply) -> set[tuple[str, str]]:
            return {
                (one["Node"]["Node"], one["Service"]["ID"])
                for one in json.loads(reply.body)
                if not one["Service"]["Address"]
            }

        call = self.api.health(self.service)
        return ConsulCall(call.what, call.send, parse)

    def _skew(self, reply: Reply) -> float | None:
        """By how many seconds the clock behind a ``Date`` header is ahead of ours."""
        try:
            return parsedate_to_datetime(reply.headers["date"]).timestamp() - self.wall()
        except (KeyError, ValueError):
            return None


class _FirstError:
    """What Consul would not or could not answer: nobody's reason to stop looking."""

    def __init__(self) -> None:
        self.denied: dict[str, str] = {}
        self.failing: dict[str, str] = {}

    def unless(self, call: ConsulCall[T]) -> Flow[T | None]:
        """Flow: the answer, or None and a note.

        Raises:
            ConsulUnreachable: there is nobody to ask.
        """
        try:
            return (yield from execute(call))
        except ConsulUnreachable:
            raise
        except ConsulDenied as error:
            self.denied[call.what] = str(error)
        except ConsulError as error:
            self.failing[call.what] = str(error)
        return None


def _asked(one: Instance, target: str) -> Flow[Outcome]:
    outcome: Outcome = yield Send(one.origin, "GET", target, ANSWER_WITHIN)
    return outcome


def _store(one: Instance) -> Flow[Outcome]:
    """The first call that needs the store and fails, or the last one: a store that is full answers
    as long as it is only read, so a session is made, and deleted."""
    outcome = yield from _asked(one, STORE_CALL)
    if not (isinstance(outcome, Reply) and outcome.status == 200):
        return outcome
    body = msgspec.json.encode({"node_id": PROBE_NODE_ID, "ttl_seconds": SHORT_LIFE})
    headers = {"content-type": "application/json"}
    made: Outcome = yield Send(one.origin, "POST", "/sessions", ANSWER_WITHIN, headers, body)
    if session := _text(made, "session_id"):
        yield Send(one.origin, "DELETE", f"/sessions/{session}", ANSWER_WITHIN)
    return made


def _text(outcome: Outcome, name: str) -> str | None:
    found: Any = field_of(outcome, name) if isinstance(outcome, Reply) else None
    return found if isinstance(found, str) else None
