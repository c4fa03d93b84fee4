"""``instances``: lists the instances as a client sees them."""

import json
import sys
from typing import Any

from kato_consul import Instance, Snapshot, Source
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.options.common import (
    Consul,
    Json,
    Service,
    settings_from,
    silence_watch_log,
)
from kato_consul.cli.output import duration, print_status, status_if_consul_is_slow

CONSUL_WITHIN = 5.0
"""Seconds to wait for Consul: less than a program waits, because a user is waiting."""


def instances(service: Service = None, json_: Json = False, consul: Consul = None) -> None:
    """List a service's instances as a client sees them.

    "used" is whether clients send requests to the instance: they use those
    that are passing, or if none is, those with a warning. An instance whose
    address or port is invalid is never used. The last line gives
    the source of the list: Consul; or until Consul answers, the snapshot saved
    in KATO_CONSUL_STATE_DIR or the static list in KATO_URL.

      kato-consul instances

      kato-consul instances --json | jq -r '.instances\\[] | select(.used).id'
    """
    with exit_on_error():
        from kato_consul import Discovery

        silence_watch_log()
        settings = settings_from(consul, service)
        with Discovery(settings) as discovery, status_if_consul_is_slow(settings):
            snapshot = discovery.registered_snapshot(CONSUL_WITHIN)
            age, last_error = discovery.age, discovery.last_error
        if json_:
            sys.stdout.write(json.dumps(as_json(snapshot, age)) + "\n")
        else:
            from kato_consul.cli.instance_table import print_table

            source = describe_source(snapshot, age)
            print_table(snapshot, f"{snapshot.service}: {snapshot.summary()}, {source}")
        for entry in snapshot.unreadable:
            print_status(f"warning: an entry of Consul's list cannot be read: {entry}")
        if last_error is not None:
            print_status(f"warning: {last_error}")


def describe_source(snapshot: Snapshot, age: float | None) -> str:
    """Return where the snapshot is from and how old it is; ``age`` in seconds."""
    if snapshot.source is Source.STATIC:
        return "from the static list in KATO_URL"
    when = "just now" if age is None or age < 1 else f"{duration(age)} ago"
    saved = " (saved snapshot)" if snapshot.source is Source.DISK else ""
    return f"reported by Consul {when}{saved}"


def as_json(snapshot: Snapshot, age: float | None) -> dict[str, Any]:
    """Return the snapshot as JSON data; ``age`` in seconds."""
    return {
        "service": snapshot.service,
        "source": snapshot.source.value,
        "age": None if age is None else round(age, 3),
        "index": snapshot.index,
        "instances": [
            _instance_as_json(instance, used=instance in snapshot.usable)
            for instance in snapshot.instances
        ],
        "unreadable": list(snapshot.unreadable),
    }


def _instance_as_json(instance: Instance, *, used: bool) -> dict[str, Any]:
    return {
        "id": instance.id,
        "address": instance.address,
        "port": instance.port,
        "scheme": instance.scheme,
        "path": instance.path,
        "health": instance.health.value,
        "used": used,
        "zone": instance.zone,
        "node": instance.node,
        "datacenter": instance.datacenter,
        "tags": list(instance.tags),
        "meta": dict(instance.meta),
        "weight": instance.weight,
        "output": instance.output,
        "address_error": instance.address_error,
    }
