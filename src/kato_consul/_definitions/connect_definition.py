"""Connect definitions: the sidecar proxy of an instance in Consul's service mesh."""

from dataclasses import dataclass, field
from typing import Any

from kato_consul._definitions import rules
from kato_consul._definitions.rules import field_mistakes, ruled_field
from kato_consul.errors import DefinitionError

SIDECAR_SUFFIX = "-sidecar-proxy"
"""The agent appends it to the id of an instance, and to the name of its service."""


@dataclass(frozen=True, kw_only=True)
class UpstreamDefinition:
    """A service that an instance reaches through its sidecar, on a port of the local machine.

    Attributes:
        destination_name: name of the service, or of the prepared query.
        destination_type: ``service`` (default) or ``prepared_query``.
        datacenter: datacenter of the service; default: the agent's.
        local_bind_address: address that the sidecar listens on; default: the agent's choice,
            ``127.0.0.1``.
        local_bind_port: port that the sidecar listens on, 1 to 65535.
        config: the proxy's own settings, which Consul does not interpret; default none.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    destination_name: str = ruled_field(rules.not_empty)
    destination_type: str = ruled_field(rules.destination_type, default="service")
    datacenter: str = ""
    local_bind_address: str = ""
    local_bind_port: int = ruled_field(rules.port)
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if mistakes := [*field_mistakes(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class ProxyDefinition:
    """The settings of a sidecar proxy.

    Attributes:
        local_service_address: address at which the sidecar reaches its instance; default: the
            agent's choice, ``127.0.0.1``.
        local_service_port: port at which the sidecar reaches its instance; default 0: the
            instance's own port.
        upstreams: the services that the instance reaches through the sidecar; default none.
        config: the proxy's own settings, which Consul does not interpret; default none.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    local_service_address: str = ruled_field(rules.host, default="")
    local_service_port: int = ruled_field(rules.port_or_zero, default=0)
    upstreams: tuple[UpstreamDefinition, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if mistakes := [*field_mistakes(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class SidecarDefinition:
    """The sidecar proxy of an instance, which the agent registers beside it.

    Its id is ``<id>-sidecar-proxy``. The agent adds two checks: that the sidecar listens, and the
    health of the instance. It deregisters the sidecar together with the instance.

    Attributes:
        port: port that the sidecar listens on for the mesh; default 0: the agent takes the first
            free one from 21000 to 21255.
        address: address of the sidecar; default: the instance's.
        name: name of the sidecar's service; default: the service's, with ``-sidecar-proxy``.
        tags: the sidecar's tags; default: the instance's.
        meta: the sidecar's metadata; default: the instance's.
        proxy: see `ProxyDefinition`.

    Raises:
        DefinitionError: one or more values are not allowed; it holds every mistake.
    """

    port: int = ruled_field(rules.port_or_zero, default=0)
    address: str = ruled_field(rules.host, default="")
    name: str = ""
    tags: tuple[str, ...] = ruled_field(rules.list_of_strings, default=())
    meta: dict[str, str] = field(default_factory=dict, metadata={"rule": rules.metadata})
    proxy: ProxyDefinition = field(default_factory=ProxyDefinition)

    def __post_init__(self) -> None:
        if mistakes := [*field_mistakes(self)]:
            raise DefinitionError(mistakes)


@dataclass(frozen=True, kw_only=True)
class ConnectDefinition:
    """How an instance takes part in Consul's service mesh.

    Attributes:
        sidecar_service: the sidecar proxy that the agent registers beside the instance; default
            none.
    """

    sidecar_service: SidecarDefinition | None = None
