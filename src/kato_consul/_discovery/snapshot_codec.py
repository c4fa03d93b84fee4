"""Snapshot codec: the format of saved snapshots, and the snapshot of a static list.

Decoding checks that the content has this format, belongs to the same query, and is complete.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from hashlib import blake2b

import msgspec

from kato_consul._addresses import instance_url
from kato_consul.models import Instance, Snapshot, Source
from kato_consul.settings import Settings

VERSION = 3
"""The format of the file; a file of another version is ignored, with a warning in the log."""


class UnusableSnapshot(ValueError):
    """The saved snapshot cannot be used; the message is the reason."""


class _Content(msgspec.Struct):
    version: int
    query: str
    confirmed_at: float
    digest: str
    instances: msgspec.Raw


class _Version(msgspec.Struct):
    version: int


_content_decoder = msgspec.json.Decoder(_Content)
_version_decoder = msgspec.json.Decoder(_Version)
_instances_decoder = msgspec.json.Decoder(tuple[Instance, ...])


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A snapshot, and when Consul last confirmed it (seconds since 1970)."""

    snapshot: Snapshot
    confirmed_at: float


def query_fingerprint(settings: Settings) -> str:
    """Return the settings that select instances, as JSON. Clients with the same fingerprint share
    a saved snapshot."""
    selection = {
        "service": settings.service,
        "tags": sorted(settings.tags),
        "meta": dict(sorted(settings.meta.items())),
        "filter": settings.filter,
        "query": settings.query,
        "datacenters": settings.datacenters,
        "namespace": settings.namespace,
        "partition": settings.partition,
        "tagged_address": settings.tagged_address,
        "port_name": settings.port_name,
        "https": settings.kato_scheme == "https",
        "path": settings.kato_path,
    }
    return json.dumps({name: value for name, value in selection.items() if value})


def file_name(service: str, fingerprint: str) -> str:
    """Return a name that is valid in every file system: the letters and digits of the service's
    name, and a digest of the fingerprint."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", service)[:40]
    return f"{readable}-{_digest(fingerprint.encode())[:16]}.json"


def encode(snapshot: Snapshot, fingerprint: str, confirmed_at: float) -> bytes:
    """Return the content of the file for a snapshot; ``confirmed_at`` in seconds since 1970."""
    instances = msgspec.json.encode([_fields(instance) for instance in snapshot.instances])
    digest = _digest(instances)
    content = _Content(VERSION, fingerprint, confirmed_at, digest, msgspec.Raw(instances))
    return msgspec.json.encode(content)


def decode(content: bytes, service: str, fingerprint: str) -> SavedSnapshot:
    """Return the snapshot in the content of a file.

    Raises:
        UnusableSnapshot: the content is invalid, incomplete, or of another query.
    """
    try:
        version = _version_decoder.decode(content).version
        if version != VERSION:
            raise UnusableSnapshot(f"it has version {version}, and this is version {VERSION}")
        saved = _content_decoder.decode(content)
        if saved.query != fingerprint:
            raise UnusableSnapshot(f"it is of another query: {saved.query}")
        if saved.digest != _digest(bytes(saved.instances)):
            raise UnusableSnapshot("its digest does not match: it is incomplete or was changed")
        instances = _instances_decoder.decode(saved.instances)
    except msgspec.MsgspecError as error:
        raise UnusableSnapshot(f"it cannot be read: {error}") from error
    return SavedSnapshot(Snapshot(service, instances, source=Source.DISK), saved.confirmed_at)


def static_snapshot(service: str, urls: Iterable[str]) -> Snapshot:
    """Return the snapshot of a static list. The id of an instance is its host and port with its
    path, since it has no other."""
    instances = []
    for url in urls:
        scheme, host, port, path = instance_url(url)
        unnamed = Instance("", service, host, port, scheme=scheme, path=path)
        instances.append(replace(unnamed, id=f"{unnamed.netloc}{path}", uid=""))
    by_id = {instance.id: instance for instance in instances}
    return Snapshot(service, tuple(by_id[id_] for id_ in sorted(by_id)), source=Source.STATIC)


def _fields(instance: Instance) -> dict[str, object]:
    return {field.name: getattr(instance, field.name) for field in fields(instance)}


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
