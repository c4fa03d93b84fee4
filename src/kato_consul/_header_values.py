"""Header values: what a token, and a request header of KATO's, may contain.

The errors never contain a value: it may be a secret.
"""

import re
from collections.abc import Mapping
from typing import Any

from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, 5.6.2)."""

_OWN_NAMES = frozenset(
    {"connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"}
)
"""Headers that the HTTP engine sets: a second one would change the meaning of the request."""


def check_header_name(name: Any, setting: str) -> None:
    """Check the name of a header in a setting.

    Raises:
        ConfigurationError: it is no name, or the engine sets this header.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"{setting}: {name!r} is not the name of a header")
    if name.lower() in _OWN_NAMES:
        raise ConfigurationError(f"{setting}: {name} cannot be set: the HTTP engine sets it")


def checked_headers(headers: Any) -> dict[str, Secret]:
    """Return the setting ``kato_headers`` with its values as secrets.

    Raises:
        ConfigurationError: a name or a value is invalid, or a name occurs twice.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"kato_headers must be a mapping, not {type(headers).__name__}")
    checked: dict[str, Secret] = {}
    for name, value in headers.items():
        check_header_name(name, "kato_headers")
        if name.lower() in {other.lower() for other in checked}:
            raise ConfigurationError(f"kato_headers has {name} twice")
        secret = Secret(value) if isinstance(value, str) else value
        if not isinstance(secret, Secret):
            raise ConfigurationError(f"kato_headers: {name} must be text")
        text = secret.reveal()
        if text != text.strip() or not all(32 <= ord(character) <= 126 for character in text):
            raise ConfigurationError(
                f"kato_headers: the value of {name} contains a line break or a character that is "
                f"not printable ASCII, or it begins or ends with a space"
            )
        checked[name] = secret
    return checked


CONSUL_TOKEN, API_KEY = "the Consul token", "the API key for KATO"
"""What a token is called in errors."""


def checked_token(token: Any, setting: str, what: str) -> Secret | None:
    """Return a setting that is a token, as a secret.

    Raises:
        ConfigurationError: a header cannot carry it.
    """
    if token is None:
        return None
    secret = Secret(token.strip()) if isinstance(token, str) else token
    if not isinstance(secret, Secret):
        raise ConfigurationError(f"{setting} must be text, not {type(token).__name__}")
    check_token(what, secret)
    return secret


def check_token(what: str, token: Secret) -> None:
    """Check that a header can carry a token.

    Raises:
        ConfigurationError: it cannot.
    """
    if not all(33 <= ord(character) <= 126 for character in token.reveal()):
        raise ConfigurationError(
            f"{what} contains a space, a line break or a character that is not printable ASCII: "
            f"does its file contain anything else?"
        )
