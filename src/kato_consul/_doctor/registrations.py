"""Registrations: Consul's records of a service's instances, and what doctor reads from them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import ConsulCall
from kato_consul._consul.snapshot_decoder import (
    NODE_HEALTH,
    NODE_MAINTENANCE,
    SERVICE_MAINTENANCE,
)
from kato_consul._definitions.schema import probe_check_id
from kato_consul._doctor.facts import RegistrationFacts
from kato_consul._flow import Reply
from kato_consul._registration.registrar_state import OWNER_KEY
from kato_consul.models import Health

Record = Mapping[str, Any]
"""One entry of ``/v1/health/service/<name>``."""

Registrations = Mapping[tuple[str, str], Record]
"""The records by node and id."""

_TTL_EXPIRED = "TTL expired"
"""How an agent begins the output of a TTL check that has expired."""


def registrations_call(api: ConsulApi, service: str) -> ConsulCall[Registrations]:
    """Return the call for the records of a service's instances, without those that have no id."""

    def parse(reply: Reply) -> Registrations:
        found = {}
        for record in json.loads(reply.body):
            with suppress(LookupError, TypeError):
                found[record["Node"]["Node"], record["Service"]["ID"]] = record
        return found

    call: ConsulCall[Any] = api.health(service)
    return replace(call, parse=parse)


def read_registration(
    record: Record | None, agent_checks: Mapping[str, Record]
) -> RegistrationFacts:
    """Return how an instance is registered.

    ``agent_checks`` are those of the agent that was asked: it holds back changes of an output alone
    (``check_update_interval``, 5 minutes), so the catalog may have an older one.
    """
    if record is None:
        return RegistrationFacts()
    service = record["Service"]
    checks = {check["CheckID"]: check for check in record["Checks"] or ()}
    node_health = checks.get(NODE_HEALTH)
    expired = []
    for check_id in (own := own_checks(record)):
        check, newest = checks[check_id], agent_checks.get(check_id)
        if newest is not None and newest.get("Node") == check.get("Node"):
            check = newest
        output = check.get("Output") or ""
        if check["Status"] == Health.CRITICAL.value and output.startswith(_TTL_EXPIRED):
            expired.append(check_id)
    probe = probe_check_id(service["ID"])
    return RegistrationFacts(
        no_address=not service["Address"],
        node_alive=None if node_health is None else node_health["Status"] != Health.CRITICAL.value,
        owner=owner_of(record),
        checks=len(own),
        expired=tuple(expired),
        probed=probe in own,
        reporting=probe in own and checks[probe].get("Type") == "ttl" and probe not in expired,
    )


def own_checks(record: Record) -> frozenset[str]:
    """Return the ids of an instance's own checks, without maintenance mode."""
    return frozenset(
        check["CheckID"]
        for check in record["Checks"] or ()
        if check.get("ServiceID") == record["Service"]["ID"]
        and not check["CheckID"].startswith((NODE_MAINTENANCE, SERVICE_MAINTENANCE))
    )


def owner_of(record: Record) -> str:
    """Return the registrar in an instance's metadata, or an empty text."""
    owner: str = (record["Service"].get("Meta") or {}).get(OWNER_KEY, "")
    return owner


def state_of(record: Record) -> object:
    """Return what changes only when the instance is registered differently: Consul keeps the index
    of a service that is registered again unchanged."""
    return record["Service"].get("ModifyIndex"), own_checks(record)
