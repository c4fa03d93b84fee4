"""Tables of a document, read as definitions: each value by the rule of its field, and what is
wrong, all of it, with its place.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from kato_consul._definitions.interpolation import Expansion
from kato_consul._definitions.schema import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    TaggedAddress,
    Weights,
    mistake_in,
)
from kato_consul.errors import DefinitionError

T = TypeVar("T", CheckDefinition, ProbeDefinition, ServiceDefinition, TaggedAddress, Weights)

_TABLES: dict[str, type[Any]] = {
    "check": CheckDefinition,
    "probe": ProbeDefinition,
    "weights": Weights,
}

_NO_SCRIPTS = "the agent's scripts are not for us: write http or tcp"
_HTTP_OR_TCP = "write http or tcp"
_SIDECARS = "sidecars and proxies are registered with Consul's own tools"
_NOT_HANDED_ON = "it would not be handed on to the agent: leave it out"
_TAGS = "the tags stay as they are defined here"

_HINTS = {
    "ttl": "a TTL check has to be fed: leave it out, and let kato-consul run probe the instance",
    "args": _NO_SCRIPTS,
    "script": _NO_SCRIPTS,
    "shell": _NO_SCRIPTS,
    "dockercontainerid": _NO_SCRIPTS,
    "grpc": _HTTP_OR_TCP,
    "grpcusetls": _HTTP_OR_TCP,
    "h2ping": _HTTP_OR_TCP,
    "udp": _HTTP_OR_TCP,
    "aliasnode": _HTTP_OR_TCP,
    "aliasservice": _HTTP_OR_TCP,
    "token": "give tokens with CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN",
    "namespace": "give it with CONSUL_NAMESPACE",
    "partition": "give it with CONSUL_PARTITION",
    "kind": _SIDECARS,
    "connect": _SIDECARS,
    "proxy": _SIDECARS,
    "proxydestination": _SIDECARS,
    "socketpath": "KATO listens on a port",
    "enabletagoverride": _TAGS,
    "disableredirects": _NOT_HANDED_ON,
    "outputmaxsize": _NOT_HANDED_ON,
    "tlsservername": _NOT_HANDED_ON,
}
"""For what Consul knows and we do not take."""

_IN_A_CHECK = ("deregister_critical_service_after", "interval", "timeout", "http", "tcp")

_ALIASES = {"checkid": "id", "serviceid": "id"}

_STAND_IN = {"name": "kato", "port": 1, "address": "localhost"}
"""For what is missing or wrong, so that rules over several fields are looked at all the same."""

_MEANT = {
    str: "text in quotes",
    int: "a whole number",
    bool: "true or false",
    tuple[str, ...]: "a list of texts",
    dict[str, str]: "a table of texts",
    dict[str, list[str]]: "a table of lists of texts",
}


class Reader:
    """Reads tables as definitions; adds what is wrong to ``mistakes``.

    ``loose``: names of fields are taken as Consul's agent takes them, in any case and with or
    without underscores; and what Consul knows, we do not take, and says nothing (``false``, ``""``,
    ``null``) is passed over.
    """

    def __init__(self, mistakes: list[str], *, loose: bool) -> None:
        self._mistakes = mistakes
        self._loose = loose

    def read(self, table: Any, kind: type[T], place: str) -> T | None:
        """The table as a ``kind``; None when it has mistakes."""
        if not isinstance(table, Mapping):
            self._mistakes.append(f"{place} must be a table, not {table!r}")
            return None
        before = len(self._mistakes)
        known = {one.name: one for one in fields(kind)}
        types = get_type_hints(kind)
        given = self._given(table, known, place)
        found: dict[str, Any] = {}
        for name, one in known.items():
            so_far = len(self._mistakes)
            if name in given:
                found[name] = self._value(name, given[name], one, types[name], place)
            elif one.default is MISSING and one.default_factory is MISSING:
                self._mistakes.append(f"{place}: {name} is missing")
            if len(self._mistakes) > so_far:
                found.pop(name, None)
                if one.default is MISSING and one.default_factory is MISSING:
                    found[name] = _STAND_IN[name]
        try:
            made = kind(**found)
        except DefinitionError as error:  # a rule over several fields
            self._mistakes += [f"{place}: {one}" for one in error.mistakes]
        return made if len(self._mistakes) == before else None

    def _given(
        self, table: Mapping[str, Any], known: Collection[str], place: str
    ) -> dict[str, Any]:
        """The table's values by the names that we have for them."""
        names = {_bare(name): name for name in known}
        given = {}
        for key, value in table.items():
            name = key if key in known else None
            if self._loose and name is None:
                name = names.get(_ALIASES.get(_bare(key), _bare(key)))
            if self._loose and (value is None or (_bare(key) in _HINTS and not _says(value))):
                continue
            if name is None:
                self._mistakes.append(unknown(place, key, known))
            else:
                given[name] = value
        return given

    def _value(self, name: str, value: Any, one: Field[Any], wanted: Any, place: str) -> Any:
        if name == "probe" and isinstance(value, str):
            if value != "kato":
                self._mistakes.append(
                    f'{place}: probe: {value!r} is not known: write probe = "kato", or a table'
                )
            return ProbeDefinition()
        if name in _TABLES:
            return self.read(value, _TABLES[name], f"{place}: {name}")
        if name == "checks":
            if not isinstance(value, list):
                self._mistakes.append(f"{place}: checks must be a list of tables, not {value!r}")
                return None
            return tuple(
                self.read(check, CheckDefinition, f"{place}: checks {number}")
                for number, check in enumerate(value, 1)
            )
        if name == "tagged_addresses" and isinstance(value, Mapping):
            return {
                tag: self.read(address, TaggedAddress, f"{place}: {name}: {tag}")
                for tag, address in value.items()
            }
        return self._plain(f"{place}: {name}", value, one, wanted)

    def _plain(self, place: str, written: Any, one: Field[Any], wanted: Any) -> Any:
        expansion = Expansion()
        value = expansion.of(written)
        if expansion.mistakes:
            self._mistakes += [f"{place}: {mistake}" for mistake in expansion.mistakes]
            return None
        if expansion.secret and one.metadata.get("shown"):
            self._mistakes.append(
                f"{place}: a file's content is not taken here, since Consul shows what a check "
                f"asks: put it into header"
            )
            return None
        try:
            # What comes from outside is text: ${PORT} is a number all the same.
            found = msgspec.convert(value, wanted, strict=not expansion.changed)
        except msgspec.ValidationError:
            # What may hold a secret, which `repr` leaves out as well, is not repeated.
            told = f": it is {written!r}" if one.repr else ""
            self._mistakes.append(f"{place}: must be {_meant(wanted)}{told}")
            return None
        if mistake := mistake_in(one.metadata, found):
            if expansion.secret:
                mistake = f"what {written!r} stands for cannot be used here"
            self._mistakes.append(f"{place}: {mistake}")
        return found


def unknown(place: str, key: str, known: Collection[str]) -> str:
    """What is said of a key that is not known: what would do instead."""
    if _bare(key) in _HINTS:
        return f"{place}: {key} is not taken here: {_HINTS[_bare(key)]}"
    if key in _IN_A_CHECK:
        return f"{place}: {key} belongs into check, or probe: check = {{ {key} = … }}"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{place}: {key} is not known: {hint}"


def _says(value: Any) -> bool:
    """Whether a value says anything: ``{"native": false}`` does not."""
    if isinstance(value, Mapping):
        return any(map(_says, value.values()))
    return bool(value)


def _meant(wanted: Any) -> str:
    """A field's type, in words."""
    kinds = [one for one in get_args(wanted) if one is not NoneType]
    if wanted not in _MEANT and len(kinds) == 1:
        (wanted,) = kinds
    return _MEANT.get(wanted, "a table")


def _bare(name: str) -> str:
    return name.replace("_", "").lower()
