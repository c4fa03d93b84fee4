"""docs/errors.md: a row for each error, with what its class and its HTTP response are."""

import inspect
import re
from pathlib import Path

import pytest

from kato_consul.errors import KatoConsulError
from kato_consul.web import error_response
from tests.test_errors import TABLE, tree

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([–\w]+) \| (\S+) \| (\S+) \| (\d{3}) \| .+ \|$", re.MULTILINE)
ROWS = {row[0]: row[1:] for row in ROW.findall(PAGE)}
CLASSES: list[type[KatoConsulError]] = [KatoConsulError, *tree(KatoConsulError)]
WORDS = {True: "yes", False: "no", None: "?"}
EXAMPLES = {type(row[0]): row[0] for row in reversed(TABLE)}


def test_every_error_has_one_row() -> None:
    """In the order of errors.py, so that the page can be read beside it."""
    assert list(ROWS) == [kind.__name__ for kind in sorted(CLASSES, key=line_of)]
    assert len(ROW.findall(PAGE)) == len(ROWS)


def line_of(kind: type[KatoConsulError]) -> int:
    """Return where a class is defined."""
    return inspect.getsourcelines(kind)[1]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_row_states_what_the_class_states(kind: type[KatoConsulError]) -> None:
    """Fault, sent and safe to resend, as an error has them unless it is told otherwise."""
    fault, sent, safe, _ = ROWS[kind.__name__]
    error = EXAMPLES.get(kind, kind)
    assert fault == (kind.fault.value if hasattr(kind, "fault") else "–")
    assert (sent, safe) == (WORDS[error.sent], WORDS[error.safe_to_resend])


@pytest.mark.parametrize("kind", CLASSES[1:], ids=lambda kind: str(kind.__name__))
def test_row_has_the_status_of_the_response(kind: type[KatoConsulError]) -> None:
    """The status that a web service answers with."""
    assert int(ROWS[kind.__name__][3]) == error_response(EXAMPLES[kind]).status
