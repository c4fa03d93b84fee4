"""Output of a job: a stream that cannot take a line does not end the job."""

import io
import sys

import pytest

from kato_consul.cli.output import MAX_EXCERPT, excerpt, log_line, print_result, print_status


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("plain", b"plain\n"),
        ("caf\u00e9 \u2192 \udcff", b"caf\\xe9 \\u2192 \\udcff\n"),
    ],
)
def test_characters_that_the_stream_cannot_encode_are_escaped(
    monkeypatch: pytest.MonkeyPatch, line: str, written: bytes
) -> None:
    """A line that does not fit the stream's encoding is written with escapes."""
    for name, write in (("stdout", print_result), ("stderr", print_status)):
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding="ascii"))
        write(line)
        assert buffer.getvalue() == written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain caf\u00e9 \u65e5", "plain caf\u00e9 \u65e5"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("a\rb\x00\x9b1m", "a\\rb\\x00\\x9b1m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_control_characters_do_not_reach_a_terminal(
    monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    """They are escaped, in each line of a text; a line break in a subject is one of them."""
    for name, write in (("stdout", print_result), ("stderr", print_status)):
        stream = io.StringIO()
        monkeypatch.setattr(sys, name, stream)
        write(f"{text}\n{text}")
        assert stream.getvalue() == f"{shown}\n{shown}\n"
    assert log_line("a\nb", "c").endswith("  a\\nb: c")


def test_excerpt_is_one_short_line() -> None:
    """An output of any length is one line, which shows that it was cut."""
    assert excerpt(" two\n\n lines\t") == "two lines"
    assert excerpt("x" * 10_000) == "x" * MAX_EXCERPT + "…"
    assert excerpt("\x1b[31m") == "\\x1b[31m"


def test_missing_and_closed_streams_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without standard streams, and after they were closed, a line is dropped."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        print_result("a line")
        print_status("a line")
