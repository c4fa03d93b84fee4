"""The benchmark's results: goals, ratios, tables, the chart, and rows that cannot be measured."""

import json
import subprocess
import sys
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.clients import async_clients
from benchmarks.clients.comparison import why_not_measurable
from benchmarks.figures import Figure, ratios
from benchmarks.report.chart import draw
from benchmarks.report.tables import print_tables
from benchmarks.scaling import Curve
from benchmarks.suite import ROWS
from benchmarks.testbed import processes
from benchmarks.testbed.kato_responses import PreparedKato, as_http
from kato_consul._http.http1 import ResponseParser
from kato_consul.testing import ConsulAgent

ROOT = Path(__file__).parents[2]
MET = Figure("met", "× one", [7.0, 6.0, 1.0], at_least=6)
MISSED = Figure("missed", "µs", [60.0, 61.0, 900.0], at_most=60)
ABSENT = Figure("absent", "calls/s", not_measured="not installed")
CURVE = Curve("instances", "a call", "µs", [(1, 2.0), (1_000, None), (10, 30.0)])


def test_goal_is_compared_with_the_median() -> None:
    """The median decides whether a goal is met, not the best or the worst round."""
    assert MET.met is True
    assert MISSED.met is False
    assert Figure("no goal", "ms", [1.0]).met is None


def test_figure_without_values_meets_no_goal_and_gives_the_reason() -> None:
    """Without values ``met`` is None, and the JSON holds the reason."""
    goal = Figure("goal", "ms", at_most=1, not_measured="no reason")
    assert goal.met is None
    assert goal.as_json()["not_measured"] == "no reason"


def test_ratios_are_taken_within_a_round() -> None:
    """Each value is divided by the one of the same round."""
    assert ratios([10.0, 2.0], [5.0, 1.0]) == [2.0, 2.0]


def test_tables_show_goal_median_spread_and_missing_figures() -> None:
    """A row has the goal, the median, the spread and the result, or why there is no value."""
    output = StringIO()
    print_tables(Console(file=output, width=120), [MET, MISSED, ABSENT], [CURVE])
    lines = [" ".join(line.split()) for line in output.getvalue().splitlines()]
    assert "met ≥ 6 × one 6.00 1.00 – 7.00 met" in lines
    assert "missed ≤ 60 µs 61.0 60.0 – 900 not met" in lines
    assert "absent not measured: not installed calls/s" in lines
    assert "a call 2.00 – 30.0 µs" in lines


def test_chart_is_xml_and_shows_what_was_measured() -> None:
    """The chart names measured clients and curves, and leaves out what was not measured."""
    figures = [Figure("KatoClient", "calls/s", [10.0]), ABSENT]
    results = {
        "figures": [figure.as_json() for figure in figures],
        "scaling": [asdict(CURVE)],
    }
    svg = ElementTree.fromstring(draw(json.loads(json.dumps(results))))
    texts = {text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"KatoClient", "a call"} <= texts
    assert "absent" not in texts


@pytest.mark.parametrize("name", [async_clients.NGINX, async_clients.NGINX_HASHED])
def test_nginx_rows_without_nginx_give_the_reason(name: str) -> None:
    """Without nginx, its rows are not measured, with the reason."""
    testbed = processes.Testbed(ConsulAgent(), [], [], None)
    assert why_not_measurable(testbed, name) == "no nginx on the PATH"


def test_prepared_responses_are_http_and_count_like_kato() -> None:
    """The test server's responses can be parsed, and ``time`` counts the observations."""
    kato, parser = PreparedKato(), ResponseParser()
    for time in (1, 2):
        parser.start_response()
        parser.feed(as_http(kato.body("/sessions/one/observe")))
        assert parser.complete
        assert json.loads(parser.reply().body)["time"] == time


def test_help_lists_every_row() -> None:
    """``--help`` has a line for each row."""
    argv = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ROWS:
        assert f"\n  {name} " in done.stdout
