"""The guard: fails if a call takes over 20 % more instructions than recorded, or 20 % fewer.

    python -m benchmarks.guard             count, and compare with the record
    python -m benchmarks.guard --record    record the current counts for this Python version

It counts bytecode instructions. They are the same on every machine but differ between Python
versions, so guard.json has a record for each version. The guard runs with the tests, in
tests/performance. Fewer instructions fail too: record them, or a later regression would pass.
"""

import argparse
import sys

from benchmarks.guard.comparison import PYTHON, compare, read_record, write_record
from benchmarks.guard.operations import count_all


def main() -> int:
    """Count, then compare or record; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--record", action="store_true", help="record the current counts")
    options = parser.parse_args()
    counts = dict(count_all())
    record = read_record() or {}
    for name, count in counts.items():
        recorded = f"{record[name]:,} on record" if name in record else "not on record"
        print(f"{name:36} {count:>8,} instructions ({recorded}, Python {PYTHON})")
    if options.record:
        write_record(counts)
        return 0
    messages = compare(counts, record)
    for message in messages:
        print(message, file=sys.stderr)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
