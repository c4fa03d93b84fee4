"""Gathering the facts of a deployment: Consul first, then each instance, as a client would ask."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from kato_consul.diagnosing.facts import Facts, InstanceFacts
from kato_consul.errors import ConsulDenied
from kato_consul.flow import Failure, Flow, Outcome, Reply, Send
from kato_consul.model import Instance
from kato_consul.registry.calls import Call, ConsulCalls, T, ask
from kato_consul.registry.learning import field_of
from kato_consul.registry.probing import NODE
from kato_consul.registry.workers import workers

ANSWER_WITHIN = 5.0
"""Seconds an instance has for each answer."""

STORE_CALL = "/sessions/kato-consul-doctor/exists"
"""The cheapest call that needs the store: 200 when it answers, 500 when not."""

SHORT_LIFE = 60
"""Seconds that a session of ours lives, should it not come to its deletion."""

Wall = Callable[[], float]
"""Seconds since the epoch, as `time.time` gives them."""


@dataclass
class Examining:
    """The means of an examination."""

    calls: ConsulCalls
    service: str
    keepalive: float
    wall: Wall

    def consul(self) -> Flow[Facts]:
        """Flow: what Consul says, the instances among it.

        Raises:
            ConsulUnreachable, ConsulUnavailable: there is nobody to ask.
        """
        facts = Facts(self.service, self.keepalive)
        leader: Outcome = yield self.calls.leader().send
        skew = self._skew(leader) if isinstance(leader, Reply) else None
        found = yield from ask(self.calls.leader())
        denied: dict[str, str] = {}
        snapshot = yield from _unless_denied(self.calls.health(self.service), denied)
        yield from _unless_denied(self.calls.agent_services(), denied)
        allowed = yield from self._allowed()
        nodes = yield from self._without_address(denied)
        return replace(
            facts,
            leader=found,
            skew=skew,
            denied=denied,
            allowed=allowed,
            instances=tuple(
                InstanceFacts(one, no_address=one.uid in nodes or one.id in nodes)
                for one in (snapshot.instances if snapshot else ())
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
        processes = yield from workers(one.instance.origin, ANSWER_WITHIN)
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
        """What the ACL system says of writing, which cannot be tried without doing it.

        The endpoint is the one that Consul's own user interface asks; without ACLs it allows all.
        """
        body = [{"Resource": "service", "Access": "write", "Segment": self.service}]
        send = replace(
            self.calls.leader().send,
            method="POST",
            target="/v1/internal/acl/authorize",
            body=json.dumps(body).encode(),
        )
        outcome: Outcome = yield send
        if not isinstance(outcome, Reply):
            return {}
        what = f"service:write on {self.service!r}"
        if b"ACL support disabled" in outcome.body:
            return {what: True}
        try:
            return {what: bool(json.loads(outcome.body)[0]["Allow"])}
        except (ValueError, TypeError, LookupError):
            return {}

    def _without_address(self, denied: dict[str, str]) -> Flow[set[str]]:
        there = yield from _unless_denied(self.calls.agent_services(), denied)
        return {one for one, service in (there or {}).items() if not service.get("Address")}

    def _skew(self, reply: Reply) -> float | None:
        """By how many seconds the clock behind a ``Date`` header is ahead of ours."""
        try:
            return parsedate_to_datetime(reply.headers["date"]).timestamp() - self.wall()
        except (KeyError, ValueError):
            return None


def _unless_denied(call: Call[T], denied: dict[str, str]) -> Flow[T | None]:
    try:
        return (yield from ask(call))
    except ConsulDenied as error:
        denied[call.what] = str(error)
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
    body = msgspec.json.encode({"node_id": NODE, "ttl_seconds": SHORT_LIFE})
    headers = {"content-type": "application/json"}
    made: Outcome = yield Send(one.origin, "POST", "/sessions", ANSWER_WITHIN, headers, body)
    if session := _text(made, "session_id"):
        yield Send(one.origin, "DELETE", f"/sessions/{session}", ANSWER_WITHIN)
    return made


def _text(outcome: Outcome, name: str) -> str | None:
    found: Any = field_of(outcome, name) if isinstance(outcome, Reply) else None
    return found if isinstance(found, str) else None
