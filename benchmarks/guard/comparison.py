"""Comparison of instruction counts with the record of this Python version, ``guard.json``."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

RECORD_FILE = Path(__file__).with_name("guard.json")
TOLERANCE = 0.20
"""Largest relative change that is accepted, up or down."""

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HOW_TO_RECORD = "python -m benchmarks.guard --record"


def read_record(python: str = PYTHON) -> dict[str, int] | None:
    """Return the counts recorded for a Python version such as ``3.11``; None without a record."""
    return _read_all().get(python)


def write_record(counts: Mapping[str, int]) -> None:
    """Record the counts for this Python version."""
    records = {**_read_all(), PYTHON: dict(counts)}
    text = json.dumps(records, indent=2, sort_keys=True)
    RECORD_FILE.write_text(text + "\n", encoding="utf-8")


def compare(counts: Mapping[str, int], record: Mapping[str, int]) -> list[str]:
    """Return a message for each count outside the tolerance, or on one side only."""
    messages = [_compare_one(name, count, record.get(name)) for name, count in counts.items()]
    missing = [f"{name} is on record but was not counted" for name in record if name not in counts]
    return [message for message in messages if message] + missing


def _read_all() -> dict[str, dict[str, int]]:
    if not RECORD_FILE.exists():
        return {}
    records: dict[str, dict[str, int]] = json.loads(RECORD_FILE.read_text(encoding="utf-8"))
    return records


def _compare_one(name: str, count: int, recorded: int | None) -> str:
    if recorded is None:
        return (
            f"{name}: {count:,} instructions, and no record for Python {PYTHON}. "
            f"Record it: {HOW_TO_RECORD}"
        )
    change = count / recorded - 1
    if abs(change) <= TOLERANCE:
        return ""
    direction = "more" if change > 0 else "fewer"
    advice = "If that is intended, record it" if change > 0 else "Record it"
    return (
        f"{name} takes {abs(change):.0%} {direction} instructions: {count:,}, on record are "
        f"{recorded:,}, and {TOLERANCE:.0%} is the tolerance. {advice}: {HOW_TO_RECORD}"
    )
