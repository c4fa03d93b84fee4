"""Entry: what a session directory stores of one session.

It is written when a session is opened, continued under another id of KATO's, handed over, and
before a write that cannot be repeated. It is not written for each call. An entry is one JSON
object. All parts that can grow have limits of their own, so that it has 128 KiB at most; Consul's
limit is 512 KiB.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kato_consul.errors import ConfigurationError

MAX_GIVEN_BYTES = 32_768
"""Bytes of a session's key, node, metadata and configuration, as JSON."""

MAX_JOURNAL_BYTES = 16_384
"""Bytes of the observations that an entry may hold. With more, it has only their digest."""

MAX_CUTS = 8
"""Takeovers whose cut is kept: an owner that was stopped for longer cannot know its outcome."""

MAX_KEYS = 32
"""Calls with an idempotency key that are kept: the newest."""

MAX_ANSWER_BYTES = 1_024
"""Bytes of an answer that is kept. A longer one is made again from the counters, and the names of
the patterns in it. Only the response to the creation of a session is kept however long it is: it is
the only one of its entry."""

MAX_POSITIONS = 64
"""Partitions of logs whose position is kept: a key of a session is usually in one."""

MAX_ALIASES = 8
"""Earlier ids of KATO's that are kept."""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """The state in which a takeover found KATO's session: nothing that the owners before ``epoch``
    sent, and that is not in it, will be in the session.

    ``time`` is KATO's counter, ``events`` the length of its short-term memory, and ``digest`` that
    of its events (`digest_of`).
    """

    epoch: int
    time: int
    events: int
    digest: str


class CallStart(msgspec.Struct, frozen=True, array_like=True):
    """The session before a call: KATO's counter, the length of the memory, and when KATO learns by
    itself: see `AutoLearn`."""

    time: int
    events: int
    auto_learn: tuple[int, bool] = (0, False)


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that was made with an idempotency key.

    ``request`` is a digest of what it asked for. Its units are its observations, and one for its
    learn: ``applied`` of them are in the session. ``in_flight`` more were about to be sent as of
    this entry; ``once_only``: they are never sent again. ``unknown``: it cannot be determined any
    more whether these are applied. With them KATO's counter is ``time``, and its memory has
    ``events``; ``pattern`` is the name of what was learned. ``start`` is the session before the
    call, None if it is not known. ``answer`` is the call's result, None while it has none, or if
    that is too long. Then ``learned`` are the patterns that it names, unless these are too long,
    too.
    """

    key: str
    request: str
    applied: int = 0
    in_flight: int = 0
    once_only: bool = False
    unknown: bool = False
    time: int = 0
    events: int = 0
    pattern: str = ""
    start: CallStart | None = None
    answer: dict[str, Any] | None = None
    learned: tuple[str, ...] = ()


class LogPosition(msgspec.Struct, frozen=True, array_like=True):
    """How far a partition of a log is applied to the session: up to ``offset``, and the next
    ``ahead`` observations after it. ``count`` observations were made up to there. ``unknown`` is
    the offset of a message of which this cannot be determined any more, -1 for none."""

    log: str
    partition: int
    offset: int
    ahead: int = 0
    count: int = 0
    unknown: int = -1


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A write that is never sent twice, recorded before it is sent: a learn, or a clear_all.

    ``what`` names the call. ``time`` and ``events`` are the counter and the length of the memory
    before it, ``instance`` is the uid of the instance that it is sent to. ``pattern`` is the name
    of the pattern that it learns, ``frequency`` how often that was learned before; "" and None if
    that is unknown. ``position`` is the message of a log that it is sent for.
    """

    what: str
    time: int
    events: int
    instance: str
    pattern: str = ""
    frequency: int | None = None
    position: LogPosition | None = None

    @property
    def sets_back(self) -> bool:
        """True if it sets the counter to 0."""
        return self.what.startswith("clear")


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One session of a service.

    ``key`` is the caller's. ``owner`` is the nonce of the process that owns it, or owned it last,
    and ``owner_label`` names that process to people: ``host:pid``. ``epoch`` grows by one with each
    acquisition, ``revision`` with each write. ``released``: the last owner has handed it over, so
    nothing that it sent is on its way.

    ``id`` is KATO's id, "" until the session is opened, ``first_id`` the one that it had then, and
    ``aliases`` are earlier ones, newest first. ``node_id``, ``config``, ``metadata`` and ``ttl``
    (seconds) are what reopening needs. ``time``, ``events`` and ``digest`` are KATO's counter, the
    length and the digest of its memory as of the last write of the entry. ``journal`` are the
    observations in the memory, None if they are not kept. ``lossy``: an observation since then had
    emotives or metadata, which a takeover cannot restore.

    ``cuts`` are those of the last takeovers, oldest first. ``mark`` is a write that may be on its
    way. ``keys`` are the last calls with an idempotency key, oldest first. ``positions`` are those
    of the logs as of ``time``; what was observed since comes from the partition ``source`` of a
    log, None for calls without a position.

    ``attached``: KATO's session was created by another client. ``deleting``: its deletion is about
    to be sent, so that it is not taken for lost if it is gone.

    ``auto_learn`` is when KATO learns by itself (`Journal.auto_learn`). ``incarnation`` is the same
    for as long as the directory keeps the entry: it differs if the entry was lost and made again.

    ``written_at`` and ``expires_at`` are Unix times.
    """

    key: str
    owner: str = ""
    owner_label: str = ""
    epoch: int = 0
    revision: int = 0
    released: bool = False
    id: str = ""
    first_id: str = ""
    aliases: tuple[str, ...] = ()
    attached: bool = False
    deleting: bool = False
    node_id: str = ""
    config: Mapping[str, Any] = {}
    auto_learn: tuple[int, bool] = (0, False)
    metadata: Mapping[str, Any] = {}
    ttl: int | None = None
    time: int = 0
    events: int = 0
    digest: str = ""
    journal: tuple[dict[str, Any], ...] | None = None
    lossy: bool = False
    cuts: tuple[Cut, ...] = ()
    mark: Mark | None = None
    keys: tuple[KeyRecord, ...] = ()
    positions: tuple[LogPosition, ...] = ()
    source: tuple[str, int] | None = None
    incarnation: str = ""
    written_at: float = 0.0
    expires_at: float = 0.0

    def acquired_by(self, owner: str, label: str) -> "Entry":
        """Return the entry as its next owner acquires it."""
        return msgspec.structs.replace(
            self,
            owner=owner,
            owner_label=label,
            incarnation=self.incarnation or owner,
            epoch=self.epoch + 1,
            revision=self.revision + 1,
            released=False,
        )

    @property
    def sets_back(self) -> bool:
        """True if its counter may have been set to 0 since it was written."""
        return self.mark is not None and self.mark.sets_back

    def encode(self) -> bytes:
        """Return the entry as JSON."""
        return msgspec.json.encode(self, enc_hook=dict)  # for a mapping that is no dict

    @staticmethod
    def decode(data: bytes) -> "Entry":
        """Read an entry. Fields that a newer version added are ignored.

        Raises:
            ValueError: it is no entry.
        """
        return _decoder.decode(data)


_decoder = msgspec.json.Decoder(Entry)


def check_given(
    key: str, node_id: str, metadata: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """Check that an entry can hold what a caller gives for a session.

    Raises:
        ConfigurationError: it is too large.
    """
    given = msgspec.json.encode([key, node_id, metadata, config], enc_hook=dict)
    if len(given) > MAX_GIVEN_BYTES:
        raise ConfigurationError(
            f"key, node_id, metadata and config of session {key!r:.80} are {len(given):,} bytes as "
            f"JSON. A session directory holds {MAX_GIVEN_BYTES:,} for a session: keep large data "
            f"elsewhere, and its place in the metadata"
        )


def digest_of(events: Sequence[Sequence[str]]) -> str:
    """Return a digest of the events of a short-term memory, without regard to the order in one."""
    content = msgspec.json.encode([sorted(event) for event in events])
    return hashlib.sha256(content).hexdigest()[:16]
