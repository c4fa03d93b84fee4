"""Keys of Consul's session directory: where entries, waiters and messages are in the KV store.

    kato-consul/<service>/sessions/<session>/entry        locked by its owner's Consul session
    kato-consul/<service>/sessions/<session>/wait/<n>.<i> locked by that of the waiter <n>
    kato-consul/<service>/owners/<n>/                     locked by that of the owner <n>
    kato-consul/<service>/owners/<n>/<session>            the bell: another process waits
    kato-consul/<service>/cleaned                         when old entries were removed last

``<n>`` is an owner's nonce, and ``<i>`` counts its calls. All keys of a service have one prefix, so
that one rule of an ACL policy allows them.
"""

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

LONGEST_NAME = 200
"""Characters of a session's name in a path. A longer key is replaced by its digest; the whole one
is in the entry."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session's keys are. ``name`` is the part of the paths that names it."""

    key: str
    name: str
    prefix: str

    @property
    def entry(self) -> str:
        """The key of the entry."""
        return f"{self.prefix}entry"

    @property
    def waiters(self) -> str:
        """The prefix of the keys of those that wait."""
        return f"{self.prefix}wait/"

    def waiter(self, nonce: str, call: int) -> str:
        """Return the key of one call that waits."""
        return f"{self.waiters}{nonce}.{call}"


class Keys:
    """The keys of one service."""

    def __init__(self, service: str) -> None:
        self.prefix = f"kato-consul/{_name(service)}/"
        self.sessions = f"{self.prefix}sessions/"
        self.owners = f"{self.prefix}owners/"
        self.cleaned = f"{self.prefix}cleaned"

    def place(self, key: str) -> Place:
        """Return where the keys of a session are."""
        name = _name(key)
        return Place(key, name, f"{self.sessions}{name}/")

    def mailbox(self, nonce: str) -> str:
        """Return the prefix of the messages to an owner, which is also the key that it locks."""
        return f"{self.owners}{nonce}/"

    def bell(self, nonce: str, place: Place) -> str:
        """Return the key by which a waiter asks an owner for a session."""
        return f"{self.mailbox(nonce)}{place.name}"


def waiter_nonce(path: str) -> str:
    """Return the nonce in a waiter's key."""
    return path.rpartition("/")[2].partition(".")[0]


def _name(text: str) -> str:
    """Return a text as one part of a path. Servers change ``.`` and ``..`` in the path of a URL."""
    name = quote(text, safe="")
    if len(name) <= LONGEST_NAME and name not in (".", ".."):
        return name
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"  # quoted text has no colon
