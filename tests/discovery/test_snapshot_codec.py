"""Snapshot codec: validation of saved snapshots, and static lists."""

import json
import string

import pytest

from kato_consul._discovery.snapshot_codec import (
    UnusableSnapshot,
    decode,
    encode,
    file_name,
    query_fingerprint,
    static_snapshot,
)
from kato_consul.models import Health, Instance, Snapshot, Source
from kato_consul.settings import Settings

FINGERPRINT = query_fingerprint(Settings())
ONE = Instance(
    "kato-1",
    "kato",
    "2001:db8::5",
    8000,
    Health.WARNING,
    node="n1",
    datacenter="east",
    tags=("a", "b"),
    meta={"zone": "eu-1"},
    weight=3,
    output="alive: fäiled",
    uid="kato-1@n1",
)
SNAPSHOT = Snapshot("kato", (ONE, Instance("kato-2", "kato", "10.0.0.6", 8000)), 42)
CONTENT = encode(SNAPSHOT, FINGERPRINT, 1_700_000_000.5)


def test_decoded_snapshot_is_equal() -> None:
    """All fields of each instance are restored, and the time of Consul's confirmation."""
    read = decode(CONTENT, "kato", FINGERPRINT)
    assert read.snapshot == SNAPSHOT
    assert read.snapshot.instances[0].output == ONE.output
    assert read.snapshot.source is Source.DISK
    assert read.confirmed_at == 1_700_000_000.5


def changed(**fields: object) -> bytes:
    """Return the content with these fields replaced."""
    return json.dumps({**json.loads(CONTENT), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "cannot be read"),
        (CONTENT[:-20], "cannot be read"),
        (CONTENT.replace(b"10.0.0.6", b"10.0.0.7"), "digest"),
        (changed(version=2), "has version 2, and this is version 3"),
        (changed(query='{"service": "other"}'), 'another query: {"service": "other"}'),
        (changed(confirmed_at="yesterday"), "cannot be read"),
        (changed(instances=[]), "digest"),
        (b"{}", "cannot be read"),
    ],
)
def test_invalid_content_is_refused(content: bytes, reason: str) -> None:
    """Truncated or changed content, another format and another query are refused."""
    with pytest.raises(UnusableSnapshot, match=reason):
        decode(content, "kato", FINGERPRINT)


@pytest.mark.parametrize("at", range(0, len(CONTENT), 7))
def test_flipped_bit_never_decodes_to_another_snapshot(at: int) -> None:
    """With any flipped bit the content is refused or has the same snapshot."""
    content = bytearray(CONTENT)
    content[at] ^= 1
    try:
        read = decode(bytes(content), "kato", FINGERPRINT)
    except UnusableSnapshot:
        return
    assert read.snapshot == SNAPSHOT  # only a digit of the time may differ


@pytest.mark.parametrize(
    "other",
    [
        Settings(service="other"),
        Settings(tags=("v3",)),
        Settings(meta={"zone": "eu-1"}),
        Settings(filter="Service.Port == 1"),
        Settings(query="nearest"),
        Settings(datacenter="east"),
        Settings(datacenter="east,west"),
        Settings(datacenter="west,east"),
        Settings(namespace="team"),
        Settings(partition="west"),
    ],
)
def test_other_selection_has_another_fingerprint(other: Settings) -> None:
    """Settings that select other instances have a file of their own."""
    assert query_fingerprint(other) != FINGERPRINT
    assert file_name("kato", query_fingerprint(other)) != file_name("kato", FINGERPRINT)


@pytest.mark.parametrize(
    "same",
    [
        Settings(consul_addr="elsewhere.test:1", consul_token="x"),
        Settings(consistency="stale", agent_cache=True),
        Settings(deadline=1.0, kato_urls=("http://a:1",)),
    ],
)
def test_other_access_has_the_same_fingerprint(same: Settings) -> None:
    """The agent and the consistency do not change the fingerprint."""
    assert query_fingerprint(same) == FINGERPRINT


@pytest.mark.parametrize(
    "service", ["kato", "../../etc/passwd", "a/b c?", "kätö", "x" * 300, "con", ".hidden", "a\0b"]
)
def test_file_name_is_valid_and_unique(service: str) -> None:
    """Any service's name gives a short and valid file name; different names give different ones."""
    name = file_name(service, query_fingerprint(Settings(service=service)))
    assert set(name) <= set(string.ascii_letters + string.digits + "-_.")
    assert len(name) < 64
    assert not name.startswith(".")
    other = file_name(service + "_", query_fingerprint(Settings(service=service + "_")))
    assert name != other


def test_static_list_is_a_snapshot() -> None:
    """Each address is one usable instance, with host and port as its id."""
    urls = ["http://kato:8000", "http://[::1]:8001/", "http://kato:8000", "http://plain"]
    snapshot = static_snapshot("kato", urls)
    assert [(one.id, one.origin) for one in snapshot.instances] == [
        ("[::1]:8001", "http://[::1]:8001"),
        ("kato:8000", "http://kato:8000"),
        ("plain:80", "http://plain:80"),
    ]
    assert snapshot.usable == snapshot.instances
    assert snapshot.source is Source.STATIC
