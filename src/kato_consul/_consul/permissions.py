"""Permissions: what the token may do. Consul hides what a token may not read, without an error."""

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import CONSUL_TIMEOUT, call_consul
from kato_consul._flow import Flow
from kato_consul.errors import ConsulDenied, ConsulError

SERVICE_WRITE, SERVICE_READ, NODE_READ = "service:write", "service:read", "node:read"


def read_permissions(
    api: ConsulApi, service: str, within: float = CONSUL_TIMEOUT
) -> Flow[dict[str, bool]]:
    """Flow: query the ACL system for which of the permissions above the token has: those of the
    service, and ``node:read`` of any node. Consul has ``within`` seconds.

    A write cannot be tried without writing. Without ACLs everything is allowed. Returns an empty
    dict if this Consul does not report it.
    """
    permissions = [("service", "write", service), ("service", "read", service)]
    permissions.append(("node", "read", ""))
    names = (SERVICE_WRITE, SERVICE_READ, NODE_READ)
    try:
        allowed = yield from call_consul(api.authorize(permissions).within(within))
        return dict(zip(names, allowed, strict=True))
    except ConsulDenied as error:
        return dict.fromkeys(names, True) if "ACL support disabled" in str(error) else {}
    except (ConsulError, ValueError):
        return {}


def hidden_service(api: ConsulApi, service: str) -> ConsulDenied:
    """Return the error for instances of a service that the token may not read."""
    what = f"reading the instances of {service!r}"
    why = f"the token lacks {SERVICE_READ} on {service!r}, so Consul hides the instances"
    return ConsulDenied(api.address, what, why)
