"""Field rules: what each field of a definition accepts, and the message for a value it rejects.

A rule is a function that returns what is wrong with a value, or None. It is kept in the metadata of
its dataclass field, so that the definitions and the decoder of files apply the same rule.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kato_consul._addresses import DEFAULT_PORTS, PATH_FORM, is_path_prefix
from kato_consul._durations import parse_duration
from kato_consul.models import is_host_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Rule = Callable[[Any], str | None]

MIN_REAP_AFTER = 60.0
"""Seconds. Consul replaces a shorter ``deregister_critical_service_after`` by this value without an
error (https://developer.hashicorp.com/consul/api-docs/agent/check: the minimum is 1 m), so a
shorter one would promise what Consul does not do."""

MAX_META_PAIRS, MAX_META_KEY_LENGTH, MAX_META_VALUE_LENGTH = 64, 128, 512
"""Consul's limits for metadata (``metaMaxKeyPairs``, ``metaKeyMaxLength`` and
``metaValueMaxLength`` in its package ``agent/structs``)."""

MAX_PORT = 65535
MAX_WEIGHT = 65535
"""Consul's own limit (``structs.ValidateWeights``)."""


def ruled_field(rule: Rule, *, shown_by_consul: bool = False, **options: Any) -> Any:
    """Return a dataclass field with a rule.

    Args:
        rule: returns what is wrong with a value, or None.
        shown_by_consul: Consul repeats the value in the check's output, so it must not hold a
            secret.
        options: options of `dataclasses.field`.
    """
    return field(metadata={"rule": rule, "shown_by_consul": shown_by_consul}, **options)


def broken_rule(metadata: Mapping[str, Any], value: Any) -> str | None:
    """Return what is wrong with a field's value by the field's own rule, or None."""
    rule: Rule = metadata.get("rule", _any_value)
    return rule(value)


def field_mistakes(definition: "DataclassInstance") -> Iterator[str]:
    """Yield one message for each field whose value breaks its rule."""
    for one in fields(definition):
        if mistake := broken_rule(one.metadata, getattr(definition, one.name)):
            yield f"{one.name}: {mistake}"


def _any_value(value: Any) -> str | None:
    return None


# --- texts and times ------------------------------------------------------------------------


def not_empty(value: str) -> str | None:
    return None if value.strip() else "must not be empty"


def name_in_paths(value: str) -> str | None:
    """Consul's API has names and ids in the paths of its URLs. What it refuses there, or redirects
    elsewhere, could be registered but never deregistered."""
    *parts, last = value.split("/")
    if value.isprintable() and not {*parts, last or "last"} & {"", ".", ".."}:
        return None
    return (
        f"{value!r} cannot be in a path of Consul's API: write it without control characters, "
        f"a slash at its start, '//', and '.' or '..' as a part"
    )


def service_name(value: str) -> str | None:
    return not_empty(value) or name_in_paths(value)


def unset_or_name_in_paths(value: str | None) -> str | None:
    return name_in_paths(value) if value else None


def unset_or_not_empty(value: str | None) -> str | None:
    return None if value is None else not_empty(value)


def destination_type(value: str) -> str | None:
    valid = value in ("service", "prepared_query")
    return None if valid else f"{value!r} is not known: write service or prepared_query"


def list_of_strings(value: Any) -> str | None:
    return f"{value!r} is a single string: write a list" if isinstance(value, str) else None


def duration(value: str | None) -> str | None:
    try:
        if value is not None and not parse_duration(value) > 0:
            return "must be longer than 0s"
    except ValueError as error:
        return str(error)
    return None


def reap_after(value: str | None) -> str | None:
    mistake = duration(value)
    if mistake is None and value is not None and parse_duration(value) < MIN_REAP_AFTER:
        return f"{value!r} is shorter than Consul's minimum of 1m"
    return mistake


def metadata(value: dict[str, str]) -> str | None:
    if len(value) > MAX_META_PAIRS:
        return f"{len(value)} entries are more than the {MAX_META_PAIRS} that Consul accepts"
    for key, text in value.items():
        if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{MAX_META_KEY_LENGTH}}}", key):
            return (
                f"{key!r} is not a key that Consul accepts: use letters, digits, - and _, "
                f"at most {MAX_META_KEY_LENGTH} characters"
            )
        if len(text) > MAX_META_VALUE_LENGTH:
            return (
                f"{key}: {len(text)} characters are more than the {MAX_META_VALUE_LENGTH} "
                f"that Consul accepts"
            )
    return None


def check_status(value: str | None) -> str | None:
    valid = value in (None, "passing", "warning", "critical")
    return None if valid else f"{value!r} is not a status: write passing, warning or critical"


# --- numbers --------------------------------------------------------------------------------


def above_zero(value: int) -> str | None:
    return None if value > 0 else f"{value} must be above 0"


def not_negative(value: int) -> str | None:
    return None if value >= 0 else f"{value} must not be below 0"


def passing_weight(value: int) -> str | None:
    valid = 0 < value <= MAX_WEIGHT
    return None if valid else _not_a_weight(value, lowest=1)


def warning_weight(value: int) -> str | None:
    valid = 0 <= value <= MAX_WEIGHT
    return None if valid else _not_a_weight(value, lowest=0)


def _not_a_weight(value: int, *, lowest: int) -> str:
    return f"{value} is not a weight: write a number from {lowest} to {MAX_WEIGHT}"


# --- addresses ------------------------------------------------------------------------------


def port(value: Any) -> str | None:
    valid = type(value) is int and 0 < value <= MAX_PORT  # not a bool, which is an int too
    return None if valid else f"{value!r} is not a port: write a number from 1 to {MAX_PORT}"


def port_or_zero(value: Any) -> str | None:
    return None if value == 0 else port(value)


def host(value: str) -> str | None:
    if not value:
        return None
    try:
        if ipaddress.ip_address(value).is_unspecified:
            return f"{value} is an address to listen on, not one that clients can connect to"
    except ValueError:  # a host name, then
        if mistake := _unreplaced_reference(value):
            return mistake
        if not is_host_name(value):
            return (
                f"{value!r} is not a host name or IP address: "
                f"write it without scheme, port, path and brackets"
            )
    return None


def non_empty_host(value: str) -> str | None:
    return not_empty(value) or host(value)


def scheme(value: str) -> str | None:
    valid = not value or value in DEFAULT_PORTS
    return None if valid else f"{value!r} is not a scheme of KATO's: write http or https"


def path_prefix(value: str) -> str | None:
    return None if is_path_prefix(value) else f"{value!r} is not a path: {PATH_FORM}"


def url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        if mistake := _unreplaced_reference(parts.netloc.rpartition("@")[2]):
            return mistake
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    return None if valid else f"{value!r} is not an http:// or https:// URL"


def host_and_port(value: str | None) -> str | None:
    return None if value is None else _host_and_port(value, "host:port, or [address]:port for IPv6")


def grpc_target(value: str | None) -> str | None:
    if value is None:
        return None
    target, _, _service = value.partition("/")
    return _host_and_port(target, "host:port or host:port/service")


def _host_and_port(value: str, form: str) -> str | None:
    name, _, number = value.rpartition(":")
    if mistake := _unreplaced_reference(name or value):
        return mistake
    unbracketed = ":" in name and not (name.startswith("[") and name.endswith("]"))
    valid = name and not unbracketed and number.isdecimal() and 0 < int(number) <= MAX_PORT
    return None if valid else f"{value!r} is not {form}"


def _unreplaced_reference(value: str) -> str | None:
    """Return a mistake if a value looks like a reference that nothing has replaced."""
    reference = _REFERENCE.search(value)
    if reference is None:
        return None
    name = re.search(r"[A-Za-z_][A-Za-z0-9_]*", reference[0])
    meant = f"${{{name[0] if name else 'NAME'}}}"
    return (
        f"{value!r} has a reference that was not replaced: write {meant}, which TOML replaces by "
        f"the environment, and Consul's JSON and HCL only with --expand"
    )


_REFERENCE = re.compile(r"\$\{[^}]*\}?|\$\w*|%\w+%|\{\{.*?\}\}|\{\w*\}|<\w+>")
"""References as shells, Windows, templates and build tools write them."""
