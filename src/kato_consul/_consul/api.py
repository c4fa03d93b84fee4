"""Consul's HTTP API: the calls that this package makes, for one agent.

py-consul builds the requests and parses most responses (`request_builder`). Health responses grow
with the service; msgspec decodes them (`snapshot_decoder`).
"""

import json
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from kato_consul._consul.call import CONSUL_TIMEOUT, ConsulCall, T, no_token
from kato_consul._consul.health_query import HealthQuery, HealthResponse, quoted, read_response
from kato_consul._consul.snapshot_decoder import (
    OWN_ADDRESS,
    AddressChoice,
    read_prepared_query,
    read_snapshot,
)
from kato_consul._flow import Reply, Send
from kato_consul._secret import Secret
from kato_consul.models import Health, Snapshot

if TYPE_CHECKING:
    from kato_consul._consul.former_registration import FormerRegistration
    from kato_consul._consul.registration_payload import RegistrationPayload
    from kato_consul._consul.request_builder import ConsulRequest


class ConsulApi:
    """The calls to one agent, with one token, for one datacenter."""

    def __init__(
        self,
        origin: str,
        *,
        path: str = "",
        token: Callable[[], Secret] = no_token,
        datacenter: str | None = None,
        auth: Secret | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the agent; nothing is sent.

        ``origin`` is the agent's address as in `Send`; all of its API is under ``path``. ``token``
        returns the ACL token for the request that is sent next. ``datacenter`` is the one that
        catalog and health calls read; None is the agent's own. ``auth`` is ``user:password`` for
        basic authentication. ``parameters`` are query parameters added to every call.
        """
        self.address = origin
        self._path = path
        self.token = token
        # Here, and not with the package: py-consul imports requests (`kato_consul._libraries`).
        from kato_consul._consul.request_builder import RequestBuilder

        self._consul = RequestBuilder(datacenter)
        self._datacenter = datacenter
        self._headers = {}
        if auth:
            self._headers["Authorization"] = f"Basic {b64encode(auth.reveal().encode()).decode()}"
        self._parameters = dict(parameters or {})

    def leader(self) -> ConsulCall[str]:
        """Return the call for the address of the leader; "" if there is none."""
        return self._call("reading the leader", self._consul.status.leader())

    def service_names(self) -> ConsulCall[list[str]]:
        """Return the call for the names of all services in the catalog."""
        request = self._consul.catalog.services(consistency="default")
        return self._call("listing services", request, lambda answer: sorted(answer[1]))

    def authorize(self, permissions: Sequence[tuple[str, str, str]]) -> ConsulCall[list[bool]]:
        """Return the call for which permissions the token has: each is a resource, an access and
        the name of the resource, such as ``("service", "write", "kato")``.

        This is the endpoint that Consul's own user interface uses. It answers 401 with "ACL support
        disabled" if there are no ACLs.
        """
        body = [
            {"Resource": resource, "Access": access, "Segment": name}
            for resource, access, name in permissions
        ]
        request = self._consul.http.post(
            lambda response: [bool(entry["Allow"]) for entry in json.loads(response.body)],
            "/v1/internal/acl/authorize",
            data=json.dumps(body),
        )
        return self._call("reading the token's permissions", request)

    def health(
        self,
        service: str,
        *,
        index: int = 0,
        wait: float | None = None,
        address: AddressChoice = OWN_ADDRESS,
    ) -> ConsulCall[Snapshot]:
        """Return the call for all instances of a service, in any health.

        With an ``index`` above 0 it is a blocking query, held for up to ``wait`` seconds.
        """
        call: ConsulCall[Any] = self.query_health(
            HealthQuery(service, address=address), index=index, wait=wait
        )
        return replace(call, parse=lambda reply: call.parse(reply).snapshot)

    def query_health(
        self,
        query: HealthQuery,
        *,
        index: int = 0,
        wait: float | None = None,
        last: HealthResponse | None = None,
    ) -> ConsulCall[HealthResponse]:
        """Return the call for the instances that ``query`` selects.

        With an ``index`` above 0 it is a blocking query, held for up to ``wait`` seconds. The
        content of ``last`` is not decoded again if the response is the same.
        """
        service, headers = query.service, {}
        if query.prepared_query:
            request = self._consul.query.execute(
                quote(query.prepared_query, safe=""), dc=query.datacenter
            )
            if query.cached:
                # By default the agent's cache keeps the result of a prepared query for 3 days.
                headers["Cache-Control"] = f"max-age={query.max_age}"
        else:
            # At least a millisecond: Consul takes 0s as its default of 5 minutes.
            seconds = None if wait is None else f"{max(wait, 0.001):.3f}s"
            request = self._consul.health.service(
                quote(service, safe=""),
                index=index,
                wait=seconds,
                tag=list(query.tags) or None,
                dc=query.datacenter,
                filter_expr=query.filter or None,
            )
        decode = partial(
            read_prepared_query if query.prepared_query else read_snapshot,
            service,
            choice=query.address,
            use_critical=query.use_critical,
        )
        what = f"reading the health of {service!r}"
        if query.prepared_query:
            what = f"executing the prepared query {query.prepared_query!r}"
        call: ConsulCall[Any] = self._call(what, request)
        for name in query.modes:
            call = call.with_parameter(name)
        send = msgspec.structs.replace(call.send, headers={**call.send.headers, **headers})
        return replace(
            call, send=send, parse=lambda reply: read_response(reply, decode, index, last)
        )

    def register(
        self,
        payload: "RegistrationPayload | FormerRegistration",
        *,
        checks: Sequence[Mapping[str, Any]] | None = None,
        replace_checks: bool = True,
    ) -> ConsulCall[bool]:
        """Return the call that registers a service, or replaces the service with the same id.

        ``checks`` replace those of the payload. With ``replace_checks`` the agent removes all other
        checks, maintenance mode included, since that is a check.
        """
        keywords = payload.keywords()
        if checks is not None:
            keywords |= {"check": checks[0], "extra_checks": list(checks[1:])}
        request = self._consul.agent.service.register(
            payload.name,
            service_id=payload.id,
            replace_existing_checks=replace_checks,
            **keywords,
        )
        return self._call(f"registering {payload.id!r}", request)

    def deregister(self, service_id: str) -> ConsulCall[bool]:
        """Return the call that deregisters a service. Its result is False if there was none."""
        request = self._consul.agent.service.deregister(quote(service_id, safe=""))
        return replace(self._call(f"deregistering {service_id!r}", request), not_found_ok=True)

    def deregister_check(self, check_id: str) -> ConsulCall[bool]:
        """Return the call that deregisters one check. Its result is False if there was none."""
        request = self._consul.agent.check.deregister(quote(check_id, safe=""))
        return replace(self._call(f"deregistering check {check_id!r}", request), not_found_ok=True)

    def update_ttl(self, check_id: str, status: Health, note: str) -> ConsulCall[bool]:
        """Return the call that sets the status of a TTL check, with ``note`` as its output.

        Its result is False if the agent has no such check.
        """
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
        """Return the call that enables maintenance mode for a service, or disables it (``reason``
        None).

        Its result is False if the agent has no such service.
        """
        request = self._consul.agent.service.maintenance(
            quote(service_id, safe=""), "false" if reason is None else "true", reason
        )
        verb = "disabling" if reason is None else "enabling"
        call: ConsulCall[bool] = self._call(f"{verb} maintenance mode for {service_id!r}", request)
        return replace(call, not_found_ok=True)

    def agent_services(self) -> ConsulCall[dict[str, dict[str, Any]]]:
        """Return the call for the services registered at this agent, by id."""
        return self._call(
            "reading the agent's services", self._consul.agent.services(), _records_by_id
        )

    def agent_checks(self) -> ConsulCall[dict[str, dict[str, Any]]]:
        """Return the call for the checks registered at this agent, by id, with their output."""
        return self._call("reading the agent's checks", self._consul.agent.checks(), _records_by_id)

    def catalog_service(
        self, service: str, ids: Collection[str]
    ) -> ConsulCall[list[dict[str, Any]]]:
        """Return the call for a service's instances with these ids, on all nodes of the catalog."""
        request = self._consul.catalog.service(quote(service, safe=""))
        with_ids = " or ".join(f"ServiceID == {quoted(service_id)}" for service_id in ids)
        call: ConsulCall[Any] = self._call(
            f"looking up {service!r} in the catalog", request, lambda answer: list(answer[1])
        )
        return call.with_parameter("filter", with_ids)

    def catalog_node(self, node: str) -> ConsulCall[dict[str, Any] | None]:
        """Return the call for a node in the catalog with its services by id (``Node``,
        ``Services``); None if there is no such node."""
        request = self._consul.catalog.node(quote(node, safe=""))
        return self._call(f"reading node {node!r}", request, lambda answer: answer[1])

    def node_checks(self, node: str) -> ConsulCall[list[dict[str, Any]]]:
        """Return the call for the checks of a node and of its services."""
        request = self._consul.health.node(quote(node, safe=""))
        return self._call(
            f"reading the checks of node {node!r}", request, lambda answer: list(answer[1] or ())
        )

    def deregister_from_catalog(self, node: str, service_id: str) -> ConsulCall[bool]:
        """Return the call that removes a service of a node from the catalog.

        If the node's agent is alive and has the service, it adds the service again.
        """
        body = {"Node": node, "ServiceID": service_id, "Datacenter": self._datacenter}
        # Not py-consul's method, which writes the token of CONSUL_HTTP_TOKEN into the body.
        request = self._consul.http.put(
            lambda response: bool(json.loads(response.body)),
            "/v1/catalog/deregister",
            data=json.dumps({name: value for name, value in body.items() if value}),
        )
        return self._call(f"deregistering {service_id!r} of node {node!r}", request)

    def _call(
        self,
        what: str,
        request: "ConsulRequest",
        convert: Callable[[Any], T] = lambda parsed: parsed,
    ) -> ConsulCall[T]:
        def parse(reply: Reply) -> T:
            return convert(request.parse(reply))

        send = Send(
            origin=self.address,
            method=request.method,
            target=self._path + request.target,
            timeout=CONSUL_TIMEOUT,
            headers={**request.headers, **self._headers},
            body=request.body,
        )
        call = ConsulCall(what, send, parse, token=self.token)
        for name, value in self._parameters.items():
            call = call.with_parameter(name, value)
        return call


def _records_by_id(parsed: Any) -> dict[str, dict[str, Any]]:
    """Return the response unchanged.

    Raises:
        TypeError: it does not map ids to records, so the server is not a Consul agent.
    """
    if not isinstance(parsed, dict) or not all(isinstance(one, dict) for one in parsed.values()):
        raise TypeError("not a JSON object of objects")
    return parsed
