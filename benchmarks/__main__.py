"""What calls cost: ours, and those of everybody one could use instead, in one run.

Each round measures all of them one after the other, against the same three answering servers and
a real Consul agent on this machine. Of a round's values the ratios are taken, of all rounds the
median: seconds differ between machines, and from one minute to the next; ratios hold.

    make bench                                  everything, about three minutes
    python -m benchmarks --quick                everything, short: to see that it works
    python -m benchmarks --only sync --rounds 9
    python -m benchmarks --json > results.json
    python -m benchmarks --picture docs/performance.svg

Exits with 0 when every goal that was measured is met, with 1 otherwise.
"""

import argparse
import json
import logging
import os
import platform
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.picture import draw
from benchmarks.running import ROWS, Run
from benchmarks.telling import tell
from kato_consul.cli.signals import interrupt_on_signals

INTERRUPTED = 130


def main() -> int:
    """Measure, and tell."""
    asked = _asked()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {what}", file=sys.stderr, flush=True)

    logging.getLogger("kato_consul").setLevel(logging.ERROR)  # instances are killed on purpose
    run = Run(
        rows=set(asked.only or ROWS),
        rounds=asked.rounds or (2 if asked.quick else 5),
        seconds=0.1 if asked.quick else 0.5,
        sessions=10_000 if asked.quick else 100_000,
        say=say,
    )
    interrupt_on_signals()
    try:
        results = run.results()
    except KeyboardInterrupt:
        say("interrupted; all that was started is ended")
        return INTERRUPTED
    where = {"python": platform.python_version(), "cores": os.cpu_count(), "rounds": run.rounds}
    told = {**where, "at": time.strftime("%Y-%m-%d"), **results.as_json()}
    if asked.picture:
        asked.picture.write_text(draw(told), encoding="utf-8")
    if asked.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        tell(Console(), results.figures, results.curves)
    return 1 if any(one.met is False for one in results.figures) else 0


def _asked() -> argparse.Namespace:
    rows = "\n".join(f"  {name:11} {what}" for name, what in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nrows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="how often (default: 5)")
    parser.add_argument(
        "--only", action="append", choices=ROWS, metavar="ROW", help="this row; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="short measurements, two rounds")
    parser.add_argument("--json", action="store_true", help="all values, for machines")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write an SVG")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


if __name__ == "__main__":
    sys.exit(main())
