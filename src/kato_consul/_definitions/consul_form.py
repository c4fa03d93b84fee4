"""Consul's own forms: what its JSON and HCL mean, in the terms of definitions.

- Names are accepted in any case, with or without underscores: ``tagged_addresses``,
  ``TaggedAddresses``, ``taggedAddresses``.
- ``null`` and ``""`` are values that were not given. So is a field that is not supported here, if
  its value is empty (``{"native": false}``), and a time of ``0s``.
- A list of one table stands for the table. In HCL, a table stands for a list of one.
- ``service_id`` in a check names the service that the check belongs to.
- A service without an id has its name as its id.
- The shortest ``deregister_critical_service_after`` is a minute; a shorter one is raised to it.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any, get_origin

from kato_consul._definitions.check_definition import CHECK_KINDS, CheckDefinition
from kato_consul._definitions.rules import MIN_REAP_AFTER
from kato_consul._definitions.unsupported import is_unsupported, normalized, unknown_key
from kato_consul._durations import parse_duration

NO_TARGET = f"has nothing to check: write {', '.join(CHECK_KINDS)} or alias_service"

REAP_TIME = "deregister_critical_service_after"

_OPTIONAL_TIMES = ("timeout", REAP_TIME)


def services_of(
    content: Any, location: str, mistakes: list[str], *, is_hcl: bool
) -> list[Mapping[str, Any]]:
    """Return the tables of the services in a document.

    It is one service, several services, or the body of a registration request.
    """
    if not isinstance(content, Mapping):
        mistakes.append(f'{location}: must be an object: {{"service": {{…}}}}')
        return []
    if values_of(content, "name"):
        # Of the body of a request the agent ignores an empty check; in a file it is a mistake.
        empty = [key for key in content if normalized(key) == "check" and content[key] == {}]
        return [{key: value for key, value in content.items() if key not in empty}]
    services: list[Any] = []
    for key, value in content.items():
        if normalized(key) not in ("service", "services"):
            mistakes.append(_not_a_service(location, key))
        elif value is None:
            continue
        elif normalized(key) == "service":
            if isinstance(value, list) and len(value) != 1:
                mistakes.append(f"{location}: {key} must be one, not {len(value)}: write services")
            services += value if isinstance(value, list) else [value]
        elif isinstance(value, list):
            services += value
        elif is_hcl:
            services.append(value)
        else:
            mistakes.append(f'{location}: services must be a list: {{"services": [{{…}}, {{…}}]}}')
    for number, service in enumerate(services, 1):
        if not isinstance(service, Mapping):
            mistakes.append(f"{location}: service {number} must be an object, not {service!r}")
    if not services and not mistakes:
        mistakes.append(f'{location}: defines no service: {{"service": {{…}}}}')
    return [service for service in services if isinstance(service, Mapping)]


def _not_a_service(location: str, key: str) -> str:
    if normalized(key) in ("check", "checks"):
        return f'{location}: {key} belongs in its service: {{"service": {{"checks": [{{…}}]}}}}'
    if difflib.get_close_matches(key, ["service", "services"], n=1):
        return unknown_key(location, key, ["service", "services"])
    return f"{location}: {key} is a setting of the agent: keep it in a file of the agent's own"


def fields_of(
    table: Mapping[str, Any], known: Collection[str], kind: type, service_id: str
) -> tuple[dict[str, Any], list[str]]:
    """Return a table's values by the names of fields, and its mistakes.

    Args:
        table: the table as written.
        known: the fields of the definition.
        kind: the class of the definition.
        service_id: id of the service that the table belongs to.
    """
    names = {normalized(name): name for name in known}
    if kind is CheckDefinition:
        names["checkid"] = "id"
    values: dict[str, Any] = {}
    written: dict[str, str] = {}
    mistakes = []
    for key, value in table.items():
        name = names.get(normalized(key))
        if kind is CheckDefinition and normalized(key) == "serviceid":
            if value not in (None, "", service_id):
                mistakes.append(
                    f"{key}: {value!r} is another service: this check is one of {service_id!r}"
                )
            continue
        if value is None or (name is None and is_unsupported(key) and _is_empty(value)):
            continue
        if name is not None and name != "name" and _is_unset(name, value):
            continue
        if name is None:
            values[key] = value
        elif name in values:
            mistakes.append(f"{key}: is given a second time: there is {written[name]} too")
        else:
            values[name], written[name] = value, key
    return values, mistakes


def values_of(table: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of all keys that Consul takes for this name."""
    return [value for key, value in table.items() if normalized(key) == normalized(name)]


def unwrapped(value: Any, type_: Any, *, is_hcl: bool) -> Any:
    """Return a value as its field's type has it: see the module's text."""
    is_table = is_dataclass(type_) or get_origin(type_) is dict
    if is_table and isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
        (value,) = value
    elif get_origin(type_) is tuple and is_hcl and isinstance(value, Mapping):
        value = [value]
    if type_ == dict[str, Any]:
        return _patched(value)
    if type_ == dict[str, str] and isinstance(value, Mapping):
        return {key: "" if text is None else text for key, text in value.items()}
    if type_ is int and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one type of numbers
    return value


def raised_reap_time(written: str) -> tuple[str, str]:
    """Return a check's reap time, raised to Consul's minimum, with a warning in this case."""
    try:
        if parse_duration(written) < MIN_REAP_AFTER:
            return "1m", f"{written!r} is shorter than Consul's minimum: it becomes 1m"
    except ValueError:  # the field's rule reports it
        pass
    return written, ""


def has_target(check: Collection[str]) -> bool:
    """Return whether the fields of a check say what it does."""
    return any(kind in check for kind in (*CHECK_KINDS, "alias_service", "alias_node"))


def _patched(value: Any) -> Any:
    """Return settings that Consul does not interpret, with each list of one table as the table."""
    if isinstance(value, Mapping):
        return {key: _patched(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_patched(item) for item in value]
        return items[0] if len(items) == 1 and isinstance(items[0], Mapping) else items
    return value


def _is_unset(name: str, value: Any) -> bool:
    if value == "":
        return True
    try:
        return name in _OPTIONAL_TIMES and isinstance(value, str) and parse_duration(value) == 0
    except ValueError:
        return False


def _is_empty(value: Any) -> bool:
    """Return whether a value has no content; ``{"native": false}`` has none."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return not value
