"""KATO's health report: what is read from /health, and what counts as load."""

from typing import Any

import httpx
import pytest

from kato_consul._flow import Cause, Failure, Outcome
from kato_consul._registration.health_report import (
    HealthReport,
    connect_timed_out,
    read_report,
    shows_hang,
)
from tests.building import cut, hung, not_accepted, refused, reply


def chained(error: Exception, cause: Exception) -> Failure:
    """Return the failure to connect of an engine that chains its exceptions."""
    error.__cause__ = cause
    return Failure(Cause.CONNECT, bytes_sent=False, detail="", error=error)


CPU, MEMORY, ERRORS = "High CPU usage", "High memory usage", "High error rate"


@pytest.mark.parametrize(
    ("issues", "names"),
    [
        ([CPU], (CPU,)),
        ([CPU, MEMORY, CPU], (CPU, MEMORY)),
        # Values change from request to request, and the text of an exception may hold a secret.
        ([f"{CPU}: 93.5%", f"{MEMORY} (97 %)"], (CPU, MEMORY)),
        (["Health check error: redis://:secret@redis"], ("Health check error",)),
        (["  odd   spaces "], ("odd spaces",)),
        # An issue without a name is one all the same; its value is not shown.
        (["93 %", "", 7, None, {}, []], ("other",)),
        (["5 of 5 database calls failed"], ("other",)),
        ([MEMORY, "[store] down", {"name": "store", "secret": "x"}], (MEMORY, "other")),
        (["x" * 500], ("x" * 40,)),
        ([f"issue {letter}" for letter in "abcdef"], tuple(f"issue {one}" for one in "abcd")),
        ("High CPU usage", ()),
        (None, ()),
        ({"a": 1}, ()),
    ],
)
def test_names_of_issues(issues: Any, names: tuple[str, ...]) -> None:
    """Only the words of an issue are kept; whatever is no list has no issues."""
    report = read_report(reply(200, {"status": "degraded", "issues": issues}))
    assert report == HealthReport("degraded", names)


@pytest.mark.parametrize(
    "answer",
    [reply(404, {"status": "healthy"}), reply(200, b"<html>"), reply(200, []), reply(200, {})],
)
def test_other_answers_are_no_report(answer: Any) -> None:
    """A reply that is not KATO's has no report."""
    assert read_report(answer) is None


@pytest.mark.parametrize(
    ("status", "issues", "is_load"),
    [
        ("degraded", (CPU,), True),
        ("unhealthy", (MEMORY,), True),
        ("unhealthy", (CPU, MEMORY), True),
        ("healthy", (CPU,), False),
        ("degraded", (), False),
        ("degraded", (ERRORS,), False),
        ("degraded", (CPU, ERRORS), False),
        ("unhealthy", (MEMORY, "new"), False),
        ("unhealthy", (MEMORY, "other"), False),
    ],
)
def test_load(status: str, issues: tuple[str, ...], is_load: bool) -> None:
    """Load is the CPU and the memory of the machine, and nothing else beside them."""
    assert HealthReport(status, issues).is_load is is_load


@pytest.mark.parametrize(
    ("outcome", "is_hang"),
    [
        (hung(), True),
        (refused(), False),
        (cut(), False),
        (reply(200), False),
        (Failure(Cause.TIMEOUT, bytes_sent=False, detail="while connecting"), False),
    ],
)
def test_hang(outcome: Outcome, is_hang: bool) -> None:
    """A hang: the connection was accepted, the request sent, and nothing came back."""
    assert shows_hang(outcome) is is_hang


@pytest.mark.parametrize(
    ("outcome", "timed_out"),
    [
        (not_accepted(), True),
        (Failure(Cause.TIMEOUT, bytes_sent=False, detail="while connecting"), True),
        (chained(httpx.ConnectTimeout("timed out"), TimeoutError()), True),
        (chained(httpx.ConnectError("refused"), ConnectionRefusedError()), False),
        (refused(), False),
        (hung(), False),
        (reply(200), False),
    ],
)
def test_connection_that_is_not_accepted(outcome: Outcome, timed_out: bool) -> None:
    """It is told from one that is refused, whichever engine reports it."""
    assert connect_timed_out(outcome) is timed_out
