"""What the benchmark makes of measurements: goals, ratios, tables, and what it says is missing."""

import json
import subprocess
import sys
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import contenders
from benchmarks.calls import missing
from benchmarks.canned import Kato, on_the_wire
from benchmarks.figures import Figure, ratios
from benchmarks.growth import Curve
from benchmarks.picture import draw
from benchmarks.running import ROWS
from benchmarks.site import Site
from benchmarks.telling import tell
from kato_consul._http.http1 import ResponseParser
from kato_consul.testing import ConsulAgent

ROOT = Path(__file__).parents[2]
GOOD = Figure("good", "× one", [7.0, 6.0, 1.0], at_least=6)
BAD = Figure("bad", "µs", [60.0, 61.0, 900.0], at_most=60)
ABSENT = Figure("absent", "calls/s", why_not="nobody has it")
CURVE = Curve("instances", "a call", "µs", [(1, 2.0), (1_000, None), (10, 30.0)])


def test_met() -> None:
    """A goal is met by the median, not by the best or the worst round."""
    assert GOOD.met is True
    assert BAD.met is False
    assert Figure("beside", "ms", [1.0]).met is None


def test_not_measured() -> None:
    """What was not measured meets no goal, and says why it was not."""
    goal = Figure("goal", "ms", at_most=1, why_not="no reason")
    assert goal.met is None
    assert goal.as_json()["not_measured"] == "no reason"


def test_ratios() -> None:
    """A ratio is taken within each round."""
    assert ratios([10.0, 2.0], [5.0, 1.0]) == [2.0, 2.0]


def test_told() -> None:
    """The table says the goal, the median, the spread, whether it is met, and what is missing."""
    told = StringIO()
    tell(Console(file=told, width=120), [GOOD, BAD, ABSENT], [CURVE])
    lines = [" ".join(line.split()) for line in told.getvalue().splitlines()]
    assert "good ≥ 6 × one 6.00 1.00 – 7.00 met" in lines
    assert "bad ≤ 60 µs 61.0 60.0 – 900 not met" in lines
    assert "absent not measured: nobody has it calls/s" in lines
    assert "a call 2.00 – 30.0 µs" in lines


def test_picture() -> None:
    """The picture is XML, and shows who was measured."""
    figures = [Figure("KatoClient", "calls/s", [10.0]), ABSENT]
    told = {"figures": [one.as_json() for one in figures], "growth": [asdict(CURVE)]}
    drawn = ElementTree.fromstring(draw(json.loads(json.dumps(told))))
    words = {one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"KatoClient", "a call"} <= words
    assert "absent" not in words


@pytest.mark.parametrize("name", [contenders.NGINX, contenders.NGINX_HASHED])
def test_no_nginx(name: str) -> None:
    """Where there is no nginx, its rows say so."""
    assert missing(Site(ConsulAgent(), [], [], None), name) == "no nginx on the PATH"


def test_canned_answers() -> None:
    """The answering server's answers are HTTP, and count as KATO does."""
    kato, answers = Kato(), ResponseParser()
    for time in (1, 2):
        answers.start_response()
        answers.feed(on_the_wire(kato.body("/sessions/one/observe")))
        assert answers.complete
        assert json.loads(answers.reply().body)["time"] == time


def test_help() -> None:
    """The help names every row."""
    argv = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ROWS:
        assert f"\n  {name} " in done.stdout
