"""Reading answers: what is not the wire's fault is not told as its."""

import pytest

from kato_consul._http.http1 import HttpError, ResponseParser

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def test_an_answer_in_pieces() -> None:
    """However it is cut, it is one answer."""
    answers = ResponseParser()
    for byte in ANSWER:
        assert not answers.complete
        answers.feed(bytes([byte]))
    assert answers.complete
    assert answers.reusable
    assert (answers.reply().status, answers.reply().body) == (200, b"{}")


class Interrupted(ResponseParser):
    """Answers whose reader is interrupted in the middle of one."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Ctrl-C, just now."""
        raise KeyboardInterrupt


def test_ctrl_c_while_reading() -> None:
    """An interrupt that comes while the parser calls back is one, and not bad HTTP."""
    answers = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        answers.feed(ANSWER)
    assert not answers.reusable


def test_not_http() -> None:
    """What is not HTTP is told as that."""
    with pytest.raises(HttpError):
        ResponseParser().feed(b"220 mail.example ESMTP\r\n")
