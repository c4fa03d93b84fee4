"""Keys that definitions do not have, and what to do instead."""

import difflib
from collections.abc import Collection

from kato_consul._definitions import connect_definition

_NO_SCRIPTS = "script checks are not supported: write http or tcp"
_SIDECARS = (
    "register sidecars and proxies with Consul's own tools; only sidecar_service in connect is "
    "supported"
)

_INSTEAD = {
    "args": _NO_SCRIPTS,
    "script": _NO_SCRIPTS,
    "shell": _NO_SCRIPTS,
    "dockercontainerid": _NO_SCRIPTS,
    "token": "set the token with CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN",
    "namespace": "set it with CONSUL_NAMESPACE",
    "partition": "set it with CONSUL_PARTITION",
    "kind": _SIDECARS,
    "proxy": _SIDECARS,
    "proxydestination": _SIDECARS,
    "native": _SIDECARS,
    "socketpath": "KATO listens on a port",
    "enabletagoverride": "the tags stay as they are defined here",
}
"""Consul's fields that are not supported here, without underscores, and what to do instead."""

_CHECK_FIELDS = ("deregister_critical_service_after", "interval", "timeout", "http", "tcp")
"""Fields of checks that users write directly into ``[[service]]`` by mistake."""


def unknown_key(location: str, key: str, known: Collection[str], kind: type | None = None) -> str:
    """Return the mistake for a key that is not known, with what to write instead.

    Args:
        location: where the key is.
        key: the key as written.
        known: the keys that are known there.
        kind: the class of the definition, if it is one.
    """
    if is_unsupported(key):
        return f"{location}: {key} is not supported here: {_INSTEAD[normalized(key)]}"
    if kind is not None and kind.__module__ == connect_definition.__name__:
        return f"{location}: {key} is not supported here: known keys are {', '.join(known)}"
    if key in _CHECK_FIELDS:
        return f"{location}: {key} belongs in check or probe: check = {{ {key} = … }}"
    similar = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"known keys are {', '.join(known)}"
    return f"{location}: {key} is not known: {hint}"


def is_unsupported(key: str) -> bool:
    """Return whether a key is one of Consul's that is not supported here."""
    return normalized(key) in _INSTEAD


def normalized(key: str) -> str:
    """Return a key in the form in which Consul's API compares names."""
    return key.replace("_", "").lower()
