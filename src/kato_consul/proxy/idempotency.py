"""Idempotency keys of requests: the header ``Idempotency-Key``, and the requests in hand.

As in draft-ietf-httpapi-idempotency-key-header-07, the value is a string of a structured field
(RFC 8941), in quotes; one without quotes is accepted, too. What a repeated request is answered is
the client's business (`kato_consul._kato.repeated_calls`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul._kato.repeatable import MAX_KEY_LENGTH

MALFORMED = (
    f"The header Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters, in "
    f'double quotes, such as "8e03978e-40d5-43e8-bc93-6894a57f9324". Use a new one for each request'
)
IN_HAND = (
    "A request with this Idempotency-Key is in hand. Repeat it later: it is then answered as the "
    "first one"
)


class MalformedKey(Exception):
    """The header has no valid value."""


class KeyInHand(Exception):
    """Another request with the same key is in hand."""


def key_of(header: str | None) -> str | None:
    """Return the key that a header has, None without.

    Raises:
        MalformedKey: it has none that is valid.
    """
    if header is None:
        return None
    text = header.strip()
    if text.startswith('"'):
        text = _unquoted(text)
    elif '"' in text or "," in text or " " in text:
        raise MalformedKey
    if not 0 < len(text) <= MAX_KEY_LENGTH or not all(" " <= one <= "~" for one in text):
        raise MalformedKey
    return text


def _unquoted(text: str) -> str:
    """Return the content of a string in quotes, in which a backslash precedes quotes and itself."""
    characters: list[str] = []
    rest = iter(text[1:])
    for one in rest:
        if one == '"':
            if "".join(rest).strip():
                raise MalformedKey
            return "".join(characters)
        if one == "\\":
            one = next(rest, "")
            if one not in ('"', "\\"):
                raise MalformedKey
        characters.append(one)
    raise MalformedKey


class KeysInHand:
    """The keys of the requests that this process has in hand."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()

    @contextmanager
    def hold(self, session_id: str, key: str) -> Iterator[None]:
        """Have the key of a request on a session in hand, in the block.

        Raises:
            KeyInHand: another request has it.
        """
        if (session_id, key) in self._keys:
            raise KeyInHand
        self._keys.add((session_id, key))
        try:
            yield
        finally:
            self._keys.discard((session_id, key))
