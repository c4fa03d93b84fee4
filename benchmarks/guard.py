"""The guard: a change that makes a call a fifth dearer fails.

    python -m benchmarks.guard             count, and compare with what is recorded
    python -m benchmarks.guard --record    record what is counted now, for this Python

It goes by bytecode instructions, which are the same on every machine, and differ between Python
versions: each has a record of its own, in guard.json. It runs with the tests, in
tests/performance. What became much cheaper fails, too: record it, so that it stays so.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.guarded import counts

RECORD = Path(__file__).with_name("guard.json")
WITHIN = 0.20
"""How much more or less than recorded is let pass."""

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def recorded(version: str = VERSION) -> dict[str, int] | None:
    """The record of a Python version, as ``3.11``; None when there is none."""
    found: dict[str, dict[str, int]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found.get(version)


def verdict(name: str, counted: int, before: int | None) -> str:
    """What is wrong with a count, in words; "" when nothing is."""
    how = "Record it: python -m benchmarks.guard --record"
    if before is None:
        return f"{name}: {counted:,} instructions, and no record on Python {VERSION}. {how}"
    change = counted / before - 1
    if abs(change) <= WITHIN:
        return ""
    dearer = "dearer" if change > 0 else "cheaper"
    wanted = f"If that is meant: {how[0].lower()}{how[1:]}" if change > 0 else how
    return (
        f"{name} is {abs(change):.0%} {dearer}: {counted:,} instructions, {before:,} on record, "
        f"and {WITHIN:.0%} are let pass. {wanted}"
    )


def verdicts(counted: Mapping[str, int], record: Mapping[str, int]) -> list[str]:
    """What is wrong, in words."""
    said = [verdict(name, count, record.get(name)) for name, count in counted.items()]
    gone = [f"{name} is on record and not counted" for name in record if name not in counted]
    return [one for one in said if one] + gone


def main() -> int:
    """Count, and compare or record."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--record", action="store_true", help="record what is counted now")
    asked = parser.parse_args()
    counted = dict(counts())
    record = recorded() or {}
    for name, count in counted.items():
        before = f"{record[name]:,} on record" if name in record else "not on record"
        print(f"{name:40} {count:>8,} instructions ({before}, Python {VERSION})")
    if asked.record:
        everything = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        everything[VERSION] = counted
        RECORD.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    wrong = verdicts(counted, record)
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
