"""What there is to go by until Consul answers: copies that are checked, and given lists."""

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

ASKED = query_fingerprint(Settings())
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
    output="alive: ünwell",
    uid="kato-1@n1",
)
SNAPSHOT = Snapshot("kato", (ONE, Instance("kato-2", "kato", "10.0.0.6", 8000)), 42)
COPY = encode(SNAPSHOT, ASKED, 1_700_000_000.5)


def test_whole() -> None:
    """All that is known of each instance is there again, and when Consul said so."""
    read = decode(COPY, "kato", ASKED)
    assert read.snapshot == SNAPSHOT
    assert read.snapshot.instances[0].output == ONE.output
    assert read.snapshot.source is Source.DISK
    assert read.confirmed == 1_700_000_000.5


def changed(**fields: object) -> bytes:
    """A copy with these fields replaced."""
    return json.dumps({**json.loads(COPY), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "cannot be read"),
        (COPY[:-20], "cannot be read"),
        (COPY.replace(b"10.0.0.6", b"10.0.0.7"), "digest"),
        (changed(version=2), "of version 2, and this is version 1"),
        (changed(question='{"service": "other"}'), 'another question: {"service": "other"}'),
        (changed(confirmed="yesterday"), "cannot be read"),
        (changed(instances=[]), "digest"),
        (b"{}", "cannot be read"),
    ],
)
def test_damaged(content: bytes, why: str) -> None:
    """What is cut, changed, of another format or question is refused, with the reason."""
    with pytest.raises(UnusableSnapshot, match=why):
        decode(content, "kato", ASKED)


@pytest.mark.parametrize("at", range(0, len(COPY), 7))
def test_any_bit(at: int) -> None:
    """Wherever a bit of the instances or of the frame flips, nothing false is gone by."""
    content = bytearray(COPY)
    content[at] ^= 1
    try:
        read = decode(bytes(content), "kato", ASKED)
    except UnusableSnapshot:
        return
    assert read.snapshot == SNAPSHOT  # a digit of the time is all that may go unseen


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
def test_question(other: Settings) -> None:
    """Whoever looks for something else, or elsewhere, has a copy of their own."""
    assert query_fingerprint(other) != ASKED
    assert file_name("kato", query_fingerprint(other)) != file_name("kato", ASKED)


@pytest.mark.parametrize(
    "same",
    [
        Settings(consul_addr="elsewhere.test:1", consul_token="x"),
        Settings(consistency="stale", agent_cache=True),
        Settings(deadline=1.0, kato_urls=("http://a:1",)),
    ],
)
def test_same_question(same: Settings) -> None:
    """How it is asked, and of which agent, makes no other copy."""
    assert query_fingerprint(same) == ASKED


@pytest.mark.parametrize(
    "service", ["kato", "../../etc/passwd", "a/b c?", "kätö", "x" * 300, "con", ".hidden", "a\0b"]
)
def test_file_name(service: str) -> None:
    """Any service's name makes a plain, short file name; none that differ make the same."""
    name = file_name(service, query_fingerprint(Settings(service=service)))
    assert set(name) <= set(string.ascii_letters + string.digits + "-_.")
    assert len(name) < 64
    assert not name.startswith(".")
    other = file_name(service + "_", query_fingerprint(Settings(service=service + "_")))
    assert name != other


def test_given() -> None:
    """A list of addresses makes instances that are named by them, each once, and are all used."""
    urls = ["http://kato:8000", "http://[::1]:8001/", "http://kato:8000", "http://plain"]
    snapshot = static_snapshot("kato", urls)
    assert [(one.id, one.origin) for one in snapshot.instances] == [
        ("[::1]:8001", "http://[::1]:8001"),
        ("kato:8000", "http://kato:8000"),
        ("plain:80", "http://plain:80"),
    ]
    assert snapshot.usable == snapshot.instances
    assert snapshot.source is Source.STATIC
