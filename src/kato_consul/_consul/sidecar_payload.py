"""Sidecar payload: the sidecar of a definition as the agent accepts it, and its comparison.

The agent itself registers the sidecar, as a service with an id of its own.
"""

from collections.abc import Mapping
from typing import Any

from kato_consul._definitions.connect_definition import SIDECAR_SUFFIX, SidecarDefinition
from kato_consul._definitions.schema import ServiceDefinition


def connect_payload(definition: ServiceDefinition) -> dict[str, Any] | None:
    """Return the part of a registration that defines the sidecar; None if there is none."""
    sidecar = _sidecar_of(definition)
    return None if sidecar is None else {"SidecarService": _as_stored(sidecar)}


def sidecar_matches(definition: ServiceDefinition, registered: Mapping[str, Any] | None) -> bool:
    """Return whether the agent has the sidecar as defined.

    ``registered`` is the sidecar's record in ``/v1/agent/services`` (None: it has none). What the
    definition leaves open is not compared: the agent chose it.
    """
    sidecar = _sidecar_of(definition)
    if sidecar is None:
        return True
    if registered is None:
        return False
    name = sidecar.name or f"{definition.name}{SIDECAR_SUFFIX}"
    expected = _as_stored(sidecar)
    expected.pop("Name", None)
    # Lists are compared as a whole: an upstream that was removed must go.
    upstreams = (registered.get("Proxy") or {}).get("Upstreams") or []
    return (
        registered.get("Service") == name
        and len(upstreams) == len(sidecar.proxy.upstreams)
        and _contains(registered, expected)
    )


def _sidecar_of(definition: ServiceDefinition) -> SidecarDefinition | None:
    return None if definition.connect is None else definition.connect.sidecar_service


def _as_stored(sidecar: SidecarDefinition) -> dict[str, Any]:
    """Return a sidecar with the agent's names, and without what was not given."""
    proxy = sidecar.proxy
    upstreams = [
        _given(
            DestinationType=one.destination_type,
            DestinationName=one.destination_name,
            Datacenter=one.datacenter,
            LocalBindAddress=one.local_bind_address,
            LocalBindPort=one.local_bind_port,
            Config=one.config,
        )
        for one in proxy.upstreams
    ]
    return _given(
        Name=sidecar.name,
        Port=sidecar.port,
        Address=sidecar.address,
        Tags=list(sidecar.tags),
        Meta=dict(sidecar.meta),
        Proxy=_given(
            LocalServiceAddress=proxy.local_service_address,
            LocalServicePort=proxy.local_service_port,
            Config=proxy.config,
            Upstreams=upstreams,
        ),
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _contains(registered: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        return isinstance(registered, Mapping) and all(
            _contains(registered.get(name), value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(registered, list)
            and len(registered) == len(expected)
            and all(map(_contains, registered, expected))
        )
    return bool(registered == expected)
