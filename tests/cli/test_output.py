"""Output of a job: a stream that cannot take a line does not end the job."""

import io
import sys

import pytest

from kato_consul.cli.output import print_result, print_status


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


def test_missing_and_closed_streams_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without standard streams, and after they were closed, a line is dropped."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        print_result("a line")
        print_status("a line")
