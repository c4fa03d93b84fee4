"""Durations in Go's notation, as Consul uses it: ``10s``, ``1m30s`` or ``500ms``."""

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration in Go's notation: numbers, each with a unit.

    Units are ``h``, ``m``, ``s``, ``ms``, ``us`` (or ``µs``) and ``ns``, as in ``1m30s``. The rules
    are those of Go's `time.ParseDuration <https://pkg.go.dev/time#ParseDuration>`_, except that
    there is no sign and that ``0`` needs a unit.

    Args:
        text: the duration.

    Raises:
        ValueError: it is not a duration; the message has examples.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it like 10s, 1m30s or 500ms")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
