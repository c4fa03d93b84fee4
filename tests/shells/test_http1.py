"""The HTTP/1.1 response parser: partial data, interrupts, and data that is not HTTP."""

import pytest

from kato_consul._http.http1 import HttpError, ResponseParser

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def test_response_fed_byte_by_byte_is_complete() -> None:
    """A response that arrives one byte at a time is complete after the last byte."""
    parser = ResponseParser()
    for byte in RESPONSE:
        assert not parser.complete
        parser.feed(bytes([byte]))
    assert parser.complete
    assert parser.reusable
    assert (parser.reply().status, parser.reply().body) == (200, b"{}")


class InterruptedParser(ResponseParser):
    """A parser that is interrupted in one of its callbacks."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Raise what Ctrl-C raises."""
        raise KeyboardInterrupt


def test_interrupt_in_a_callback_is_raised_as_such() -> None:
    """A KeyboardInterrupt in a callback is raised unchanged, not as `HttpError`."""
    parser = InterruptedParser()
    with pytest.raises(KeyboardInterrupt):
        parser.feed(RESPONSE)
    assert not parser.reusable


def test_data_that_is_not_http_raises() -> None:
    """Data that is not HTTP raises `HttpError`."""
    with pytest.raises(HttpError):
        ResponseParser().feed(b"220 mail.example ESMTP\r\n")
