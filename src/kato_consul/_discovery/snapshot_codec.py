"""What there is to go by until Consul answers: a copy of the last good snapshot, or a given list.

A copy is checked when it is read: that it is of this format, of the same question, and whole.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from hashlib import blake2b
from urllib.parse import urlsplit

import msgspec

from kato_consul.models import Instance, Snapshot, Source
from kato_consul.settings import Settings

VERSION = 1


class UnusableSnapshot(ValueError):
    """A copy that is not gone by; the message says why."""


class _Copy(msgspec.Struct):
    version: int
    question: str
    confirmed: float
    digest: str
    instances: msgspec.Raw


class _Version(msgspec.Struct):
    version: int


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A snapshot, and when Consul last said that it is so (seconds since 1970)."""

    snapshot: Snapshot
    confirmed: float


def query_fingerprint(settings: Settings) -> str:
    """What is looked for: clients that look for something else have another copy."""
    asked = {
        "service": settings.service,
        "tags": sorted(settings.tags),
        "meta": dict(sorted(settings.meta.items())),
        "filter": settings.filter,
        "query": settings.query,
        "datacenters": settings.datacenters,
        "namespace": settings.namespace,
        "partition": settings.partition,
    }
    return json.dumps({name: value for name, value in asked.items() if value})


def file_name(service: str, question: str) -> str:
    """A name that any file system takes: what can be read of the service's, and what tells apart
    the questions about it."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", service)[:40]
    return f"{readable}-{_digest(question.encode())[:16]}.json"


def encode(snapshot: Snapshot, question: str, confirmed: float) -> bytes:
    """The copy of a snapshot."""
    instances = msgspec.json.encode([_plain(one) for one in snapshot.instances])
    copy = _Copy(VERSION, question, confirmed, _digest(instances), msgspec.Raw(instances))
    return msgspec.json.encode(copy)


def decode(content: bytes, service: str, question: str) -> SavedSnapshot:
    """The snapshot of which ``content`` is the copy.

    Raises:
        Unusable: it is not one, or not of this question.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).version
        if version != VERSION:
            raise UnusableSnapshot(f"it is of version {version}, and this is version {VERSION}")
        copy = msgspec.json.decode(content, type=_Copy)
        if copy.question != question:
            raise UnusableSnapshot(f"it answers another question: {copy.question}")
        if copy.digest != _digest(bytes(copy.instances)):
            raise UnusableSnapshot("its digest is another: it was cut short or changed")
        instances = msgspec.json.decode(copy.instances, type=tuple[Instance, ...])
    except msgspec.MsgspecError as error:
        raise UnusableSnapshot(f"it cannot be read: {error}") from error
    return SavedSnapshot(Snapshot(service, instances, source=Source.DISK), copy.confirmed)


def static_snapshot(service: str, urls: Iterable[str]) -> Snapshot:
    """The snapshot that a list of addresses makes. Their ids are their hosts and ports, since
    nobody says others."""
    instances = []
    for url in urls:
        parts = urlsplit(url)
        assert parts.hostname is not None  # checked by the settings
        one = Instance("", service, parts.hostname, parts.port or 80)
        instances.append(Instance(one.netloc, service, one.address, one.port))
    unique = {one.id: one for one in instances}
    return Snapshot(service, tuple(unique[one] for one in sorted(unique)), source=Source.STATIC)


def _plain(one: Instance) -> dict[str, object]:
    return {field.name: getattr(one, field.name) for field in fields(one)}


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
