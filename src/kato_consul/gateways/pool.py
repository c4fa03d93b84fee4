"""Pool of a gateway: the servers that a configuration routes to, from a snapshot.

Consul accepts any text in an id, an address or metadata, and a configuration is code. So a pool has
only values that mean the same in each gateway's syntax, without quotes: what cannot be such a value
is left out, with the reason.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from kato_consul.models import Health, Instance, Snapshot

MAX_WEIGHT = 256
"""The largest weight that all gateways accept: HAProxy's. Larger ones are scaled down."""

MAX_NUMBER = 2**31 - 1

LONGEST_NAME = 48
"""Characters of an id that are in a name, which gateways show in their logs and statistics."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class GatewayServer:
    """One instance, as templates see it. All but ``instance`` is safe in any configuration.

    Attributes:
        name: Unique in the pool: the instance's id, or what of it a name may contain.
        address: Host name or IP address, without brackets.
        port: TCP port.
        netloc: ``address:port``, with brackets around an IPv6 address.
        weight: 1 to 256.
        number: Unique in the pool, 1 to 2**31-1, and the same whichever other instances there are.
            HAProxy hashes by it.
        instance: The instance itself, with its zone, tags and metadata as Consul has them.
    """

    name: str
    address: str
    port: int
    netloc: str
    weight: int
    number: int
    instance: Instance


@dataclass(frozen=True)
class GatewayPool:
    """The servers of a service, sorted by name.

    Attributes:
        service: The service's name.
        servers: The servers. They have the same scheme and path, since gateways have them for a
            pool and not for each server.
        scheme: ``http`` or ``https``.
        path: What is put before the path of each request, such as ``/kato``, or empty.
        left_out: Why instances are left out that clients of this package would use.
    """

    service: str
    servers: tuple[GatewayServer, ...]
    scheme: str = "http"
    path: str = ""
    left_out: tuple[str, ...] = ()


def gateway_pool(snapshot: Snapshot) -> GatewayPool:
    """Return the pool of a snapshot: the instances that a client would use.

    Those that are passing, or those with a warning if none is. An instance of weight 0 is used only
    if there is no other.
    """
    usable = snapshot.usable
    preferred = [one for one in usable if one.health is Health.PASSING] or list(usable)
    left_out = [f"{one.uid}: {why}" for one in preferred if (why := _unfit(one))]
    fit = [one for one in preferred if not _unfit(one)]
    if not fit:
        return GatewayPool(snapshot.service, (), left_out=tuple(left_out))
    counts = Counter((one.scheme, one.path) for one in fit)
    scheme, path = max(sorted(counts), key=counts.__getitem__)
    for one in fit:
        if (one.scheme, one.path) != (scheme, path):
            theirs, own = f"{scheme}://…{path}", f"{one.scheme}://…{one.path}"
            left_out.append(f"{one.uid}: it is at {own}, and most others are at {theirs}")
    alike = [one for one in fit if (one.scheme, one.path) == (scheme, path)]
    weighted = [one for one in alike if one.weight > 0] or alike
    return GatewayPool(snapshot.service, _servers(weighted), scheme, path, tuple(left_out))


def _unfit(instance: Instance) -> str:
    """Return why an instance cannot be in a configuration, or an empty text."""
    if "%" in instance.address:
        return f"its address {instance.address!r} has a zone, which gateways do not accept"
    if not _PLAIN_PATH.fullmatch(instance.path):
        return f"its path {instance.path!r} has characters that a configuration cannot have"
    return ""


def _servers(instances: Iterable[Instance]) -> tuple[GatewayServer, ...]:
    listed = sorted(instances, key=lambda one: one.uid)
    largest = max(one.weight for one in listed)
    taken: set[int] = set()
    servers = []
    for one in listed:
        checksum = crc32(one.uid.encode())
        number = checksum % MAX_NUMBER + 1
        while number in taken:
            number = number % MAX_NUMBER + 1
        taken.add(number)
        weight = one.weight if largest <= MAX_WEIGHT else -(-one.weight * MAX_WEIGHT // largest)
        name = _NOT_IN_NAMES.sub("_", one.uid)[:LONGEST_NAME]
        if name != one.uid:  # otherwise two ids could get one name
            name = f"{name}-{number:x}"
        servers.append(
            GatewayServer(name, one.address, one.port, one.netloc, max(weight, 1), number, one)
        )
    return tuple(servers)
