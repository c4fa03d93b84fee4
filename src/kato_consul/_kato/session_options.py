"""Session options: what a session was asked for with, and that its key is used with the same.

A key has one session. Options that differ from those of its first use would have no effect, so they
are refused, with both values.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from kato_consul._kato.plain_json import copied_json, plain_text, require_positive
from kato_consul.errors import ConfigurationError

OnConflict = Literal["repair", "adopt", "raise"]
"""What to do if KATO's session is not in the state in which this client left it.

``repair``: restore it from the journal if the journal proves that no other writer changed it;
otherwise raise `SessionConflict`. ``adopt``: continue from KATO's state. ``raise``: raise
`SessionConflict`.
"""


class SessionOptions(msgspec.Struct, frozen=True):
    """The options that a caller gave; None for those that it did not give."""

    node_id: str | None = None
    config: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    ttl: int | None = None
    on_conflict: OnConflict | None = None
    attach: str | None = None


NO_OPTIONS = SessionOptions()
"""Shared by all sessions that were asked for with a key only."""


def checked_key(key: Any) -> str:
    """Return a session's key as a plain string.

    Raises:
        ConfigurationError: it is empty or no text.
    """
    if not key:
        raise ConfigurationError("a session needs a non-empty key, such as a user's id")
    return _text(key, "the session's key")


def checked_options(
    node_id: str | None,
    config: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    ttl: int | None,
    on_conflict: OnConflict | None,
    attach: str | None,
) -> SessionOptions:
    """Return the options, copied.

    Raises:
        ConfigurationError: one is no text, no JSON or no number, or ``on_conflict`` is unknown.
    """
    if on_conflict is not None and on_conflict not in get_args(OnConflict):
        raise ConfigurationError(
            f"on_conflict must be one of {', '.join(get_args(OnConflict))}, not {on_conflict!r}"
        )
    if ttl is not None:
        require_positive(ttl, "ttl (seconds)")
    return SessionOptions(
        node_id=node_id and _text(node_id, "node_id"),
        config=None if config is None else copied_json(config, "config"),
        metadata=None if metadata is None else copied_json(metadata, "metadata"),
        ttl=ttl,
        on_conflict=on_conflict,
        attach=attach and _text(attach, "attach"),
    )


def require_same(key: str, first: SessionOptions, now: SessionOptions, ttl: int | None) -> None:
    """Check that a key is used with the options of its first use. What is not given is not checked.

    ``ttl`` is that of a session that was given none, in seconds.

    Raises:
        ConfigurationError: an option differs.
    """
    defaults = SessionOptions(key, {}, {}, ttl, "repair", "")
    for name in SessionOptions.__struct_fields__:
        wanted = getattr(now, name)
        if wanted is None:
            continue
        given = getattr(first, name)
        used = getattr(defaults, name) if given is None else given
        if wanted != used:
            raise ConfigurationError(
                f"session {key!r} has {name}={used!r:.200} from its first use, and is now asked "
                f"for with {name}={wanted!r:.200}. Use the same value, none, or another key"
            )


def _text(value: Any, name: str) -> str:
    try:
        return plain_text(value, name)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
