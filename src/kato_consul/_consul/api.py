"""Consul's HTTP API: py-consul builds the requests and reads the answers; it never sends one.

`ask` yields a request to a driver. What py-consul does that we do not want is undone here and in
`building`, each with its reason. The answers that grow, those about health, it does not read.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import consul.base
import msgspec
from consul.exceptions import ConsulException

from kato_consul._consul.health_query import HealthQuery, HealthResponse, read_response
from kato_consul._consul.registration_payload import RegistrationPayload
from kato_consul._consul.request_builder import ConsulRequest, RequestBuilder
from kato_consul._consul.snapshot_decoder import read_prepared_query, read_snapshot
from kato_consul._flow import Failure, Flow, Outcome, Reply, Send
from kato_consul._secret import Secret
from kato_consul.errors import (
    ConsulDenied,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
    excerpt,
)
from kato_consul.models import Health, Snapshot

T = TypeVar("T")

ANSWER_WITHIN = 10.0
"""Seconds an ordinary answer of Consul may take: it forwards to a leader within 7 s
(rpc_hold_timeout), after which it gives up itself."""


@dataclass(frozen=True, slots=True)
class ConsulCall(Generic[T]):
    """One request to Consul: ``what`` it does, in words for errors; how to send and to read it.

    ``may_miss``: a 404 says that the thing is not there, rather than the endpoint.
    """

    what: str
    send: Send
    parse: Callable[[Reply], T]
    not_found_ok: bool = False

    def within(self, seconds: float) -> "ConsulCall[T]":
        """The same call with another timeout."""
        return replace(self, send=replace(self.send, timeout=seconds))

    def with_parameter(self, name: str, value: str = "") -> "ConsulCall[T]":
        """The same call with one more query parameter."""
        joint = "&" if "?" in self.send.target else "?"
        target = f"{self.send.target}{joint}{urlencode([(name, value)])}"
        return replace(self, send=replace(self.send, target=target))


_MISSING = ("does not have associated TTL", "Unknown service", "Unknown check")
"""What agents say of a thing that they do not have; before 1.9 or so with a 500 or 200."""

_UNREADABLE = (
    *(ConsulException, msgspec.MsgspecError),
    *(ValueError, KeyError, TypeError, AttributeError),
)
"""What reading an answer raises that is not what the API promises."""


def execute(call: ConsulCall[T]) -> Flow[T]:
    """Flow: make one call; its result, or the error of ours that fits.

    Raises:
        ConsulUnreachable: no answer.
        ConsulUnavailable: 429 or 5xx; ``retry_after`` when Consul said so.
        ConsulDenied: 403.
        ConsulRejected: another 4xx, or a body that is not what the API promises.
    """
    address = call.send.origin
    outcome: Outcome = yield call.send
    if isinstance(outcome, Failure):
        raise ConsulUnreachable(address, str(outcome), sent=outcome.bytes_sent) from outcome.error
    body = outcome.body.decode("utf-8", "replace")
    if call.not_found_ok and any(words in body for words in _MISSING):
        outcome = replace(outcome, status=404)
    if outcome.status == 429 or outcome.status >= 500:
        # A token the servers do not know is reported as a 500 by agents before 1.11.
        if "ACL not found" in body or "Permission denied" in body:
            raise ConsulDenied(address, call.what, body)
        if "boolean expression" in body:  # of a filter that it cannot read; a 400 since 1.15 or so
            raise ConsulRejected(address, call.what, outcome.status, body)
        raise ConsulUnavailable(address, outcome.status, body, _retry_after(outcome))
    if outcome.status in (401, 403):
        raise ConsulDenied(address, call.what, body)
    if outcome.status == 404 and not call.not_found_ok and "Query not found" not in body:
        body = f"{excerpt(body, 200)} (is this a Consul agent?)"
    if outcome.status >= 300 and not (outcome.status == 404 and call.not_found_ok):
        body = outcome.headers.get("location", body)
        raise ConsulRejected(address, call.what, outcome.status, body)
    try:
        return call.parse(outcome)
    except _UNREADABLE as error:
        raise ConsulRejected(address, call.what, outcome.status, f"unreadable: {error}") from error


class ConsulApi:
    """The calls this package makes, for one agent, one token and one datacenter."""

    def __init__(
        self,
        origin: str,
        *,
        token: Secret | None = None,
        datacenter: str | None = None,
        auth: Secret | None = None,
        everywhere: Mapping[str, str] | None = None,
    ) -> None:
        """``auth`` is ``user:password``; ``everywhere`` are query parameters of every call."""
        self.address = origin
        self._consul = RequestBuilder(origin, token or Secret(""), datacenter)
        self._headers = {}
        if auth:
            self._headers["Authorization"] = f"Basic {b64encode(auth.reveal().encode()).decode()}"
        self._everywhere = dict(everywhere or {})

    def leader(self) -> ConsulCall[str]:
        """The address of the leader, or "" when there is none."""
        return self._call("reading the leader", self._consul.status.leader())

    def service_names(self) -> ConsulCall[list[str]]:
        """The names of all services in the catalog."""
        request = self._consul.catalog.services(consistency="default")
        return self._call("listing services", request, lambda answer: sorted(answer[1]))

    def health(
        self, service: str, *, index: int = 0, wait: float | None = None
    ) -> ConsulCall[Snapshot]:
        """Every instance of a service, whatever its health; blocks when given an index."""
        call = self.query_health(HealthQuery(service), index=index, wait=wait)
        return ConsulCall(call.what, call.send, lambda reply: call.parse(reply).snapshot)

    def query_health(
        self,
        query: HealthQuery,
        *,
        index: int = 0,
        wait: float | None = None,
        last: HealthResponse | None = None,
    ) -> ConsulCall[HealthResponse]:
        """The instances that ``look`` asks for; blocks when given an index.

        What says the same as ``last`` is not read again.
        """
        service, headers = query.service, {}
        if query.query:
            request = self._consul.query.execute(quote(query.query, safe=""), dc=query.datacenter)
            if query.cached:
                # A prepared query's answer stays in the agent's cache for 3 days unless told so.
                headers["Cache-Control"] = f"max-age={query.max_age}"
        else:
            # Not below a millisecond: 0s is 5 minutes to Consul.
            seconds = None if wait is None else f"{max(wait, 0.001):.3f}s"
            request = self._consul.health.service(
                quote(service, safe=""),
                index=index,
                wait=seconds,
                tag=list(query.tags) or None,
                dc=query.datacenter,
                filter_expr=query.filter or None,
            )
        read = read_prepared_query if query.query else read_snapshot
        call: ConsulCall[Any] = self._call(f"reading the health of {service!r}", request)
        for name in query.modes:
            call = call.with_parameter(name)
        send = replace(call.send, headers={**call.send.headers, **headers})
        return ConsulCall(
            call.what, send, lambda reply: read_response(reply, partial(read, service), index, last)
        )

    def register(
        self, entry: RegistrationPayload, *, replace_checks: bool = True
    ) -> ConsulCall[bool]:
        """Put an entry into the agent, replacing what it had under that id.

        With ``replace_checks`` the checks that the entry does not have are taken out, maintenance
        mode, which is one of them, included.
        """
        request = self._consul.agent.service.register(
            entry.definition.name,
            service_id=entry.id,
            replace_existing_checks=replace_checks,
            **entry.keywords(),
        )
        return self._call(f"registering {entry.id!r}", request)

    def deregister(self, service_id: str) -> ConsulCall[bool]:
        """Take a service out of the agent; False when it was not there."""
        request = self._consul.agent.service.deregister(quote(service_id, safe=""))
        return replace(self._call(f"deregistering {service_id!r}", request), not_found_ok=True)

    def update_ttl(self, check_id: str, status: Health, note: str) -> ConsulCall[bool]:
        """Say what a TTL check is to show; False when the agent has no such check."""
        check = self._consul.agent.check
        by_status = {
            Health.PASSING: check.ttl_pass,
            Health.WARNING: check.ttl_warn,
            Health.CRITICAL: check.ttl_fail,
        }
        request = by_status[status](quote(check_id, safe=""), notes=note)
        call: ConsulCall[bool] = self._call(f"reporting {check_id!r}", request)
        return replace(call, not_found_ok=True)

    def maintenance(self, service_id: str, reason: str | None) -> ConsulCall[bool]:
        """Put an instance into maintenance mode, or take it out (``reason`` None).

        False when the agent has no such instance.
        """
        request = self._consul.agent.service.maintenance(
            quote(service_id, safe=""), "false" if reason is None else "true", reason
        )
        way = "out of" if reason is None else "into"
        call: ConsulCall[bool] = self._call(f"putting {service_id!r} {way} maintenance", request)
        return replace(call, not_found_ok=True)

    def agent_services(self) -> ConsulCall[dict[str, dict[str, Any]]]:
        """The services the agent itself has, by id."""
        return self._call("reading the agent's services", self._consul.agent.services(), _tables)

    def agent_checks(self) -> ConsulCall[dict[str, dict[str, Any]]]:
        """The checks the agent itself has, by id, with what they said last."""
        return self._call("reading the agent's checks", self._consul.agent.checks(), _tables)

    def _call(
        self, what: str, request: "ConsulRequest", shape: Callable[[Any], T] = lambda answer: answer
    ) -> ConsulCall[T]:
        def parse(reply: Reply) -> T:
            headers = {"X-Consul-Index": reply.headers.get("x-consul-index", "0")}
            text = reply.body.decode()
            return shape(request.callback(consul.base.Response(reply.status, headers, text)))

        send = Send(
            origin=self.address,
            method=request.method,
            target=request.target,
            timeout=ANSWER_WITHIN,
            headers={**request.headers, **self._headers},
            body=request.body,
        )
        call = ConsulCall(what, send, parse)
        for name, value in self._everywhere.items():
            call = call.with_parameter(name, value)
        return call


def _tables(answer: Any) -> dict[str, dict[str, Any]]:
    """The answer, if it is tables by id: something else that speaks JSON has no instances."""
    if not isinstance(answer, dict) or not all(isinstance(one, dict) for one in answer.values()):
        raise TypeError("not a table of tables")
    return answer


def _retry_after(reply: Reply) -> float | None:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
