"""Benchmarks: kato-consul and its alternatives, measured in one run.

In each round every client is measured once, one after the other, against the same three test
servers and a real Consul agent on this machine. Ratios are taken within a round, and the median
over all rounds is reported: absolute times differ between machines and from minute to minute,
ratios hold.

    make bench                                  all rows, about nine minutes
    python -m benchmarks --quick                all rows, short: to check that it works
    python -m benchmarks --only sync --rounds 9
    python -m benchmarks --json > results.json
    python -m benchmarks --chart docs/performance.svg

Exits with 0 if every measured goal is met, otherwise with 1.
"""

import argparse
import json
import logging
import os
import platform
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.report.chart import draw
from benchmarks.report.tables import print_tables
from benchmarks.suite import ROWS, Run

INTERRUPTED = 130


def main() -> int:
    """Measure and print the results; return the exit code."""
    options = _parse_options()
    started = time.monotonic()

    def progress(line: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s  {line}", file=sys.stderr, flush=True)

    logging.getLogger("kato_consul").setLevel(logging.ERROR)  # instances are killed on purpose
    run = Run(
        rows=set(options.only or ROWS),
        rounds=options.rounds or (2 if options.quick else 5),
        seconds=0.1 if options.quick else 0.5,
        sessions=10_000 if options.quick else 100_000,
        progress=progress,
    )
    _interrupt_on_signals()
    try:
        results = run.measure()
    except KeyboardInterrupt:
        progress("interrupted; all processes that were started have ended")
        return INTERRUPTED
    document = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rounds": run.rounds,
        "date": time.strftime("%Y-%m-%d"),
        **results.as_json(),
    }
    if options.chart:
        options.chart.write_text(draw(document), encoding="utf-8")
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print_tables(Console(), results.figures, results.curves)
    return 1 if any(figure.met is False for figure in results.figures) else 0


def _interrupt_on_signals() -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C, from which asyncio cleans up."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: signal.raise_signal(signal.SIGINT))


def _parse_options() -> argparse.Namespace:
    rows = "\n".join(f"  {name:13} {description}" for name, description in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nrows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds (default: 5)")
    parser.add_argument(
        "--only", action="append", choices=ROWS, metavar="ROW", help="this row; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="short measurements, two rounds")
    parser.add_argument("--json", action="store_true", help="print all values as JSON")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write an SVG chart")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
