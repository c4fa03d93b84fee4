"""HTTP/1.1 for both shells: a request as bytes, and an answer read by llhttp.

The parser is Node's, as httptools binds it: the one uvicorn, and so KATO, reads requests with. What
is here is only what a client for one API needs: no redirects, cookies, proxies or compression.
"""

from httptools import HttpParserError, HttpResponseParser

from kato_consul._flow import Reply, Send
from kato_consul._http.endpoint import STATUSES_THAT_CLOSE, check

HttpError = HttpParserError

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Of these a server expects a body, and so a length even of none."""


def request_bytes(step: Send, host: str) -> bytes:
    """The whole request.

    Raises:
        ValueError: it would not be one request.
    """
    check(step)
    head = f"{step.method} {step.target} HTTP/1.1\r\nhost: {host}\r\n"
    for name, value in step.headers.items():
        head += f"{name}: {value}\r\n"
    body = step.body
    if body or step.method in METHODS_WITH_BODY:
        head += f"content-length: {len(body)}\r\n"
    return b"%b\r\n%b" % (head.encode("latin-1"), body)


class ResponseParser:
    """The answers on one connection, one after the other."""

    __slots__ = ("_body", "_headers", "_parser", "_spoiled", "_status", "_stays", "complete")

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._spoiled = False
        self.start_response()

    def start_response(self) -> None:
        """The next answer is to a new request."""
        self.complete = False
        self._status = 0
        self._stays = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take in what arrived; ``whole`` says whether the answer is all there.

        Raises:
            HttpError: that is not HTTP.
        """
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._spoiled = True
            if (cause := error.__context__) is not None and not isinstance(cause, Exception):
                raise cause from None  # Ctrl-C, while the parser had us called: no fault of HTTP's
            if not self.complete:  # else it came after the answer, which stands
                raise

    def end_of_stream(self) -> bool:
        """The connection ended: is the answer whole by that? It is when its length was not told."""
        told = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._spoiled = True
        if self._status and not told:
            self.complete = True
        return self.complete

    def reply(self) -> Reply:
        """The answer."""
        return Reply(self._status, self._headers, b"".join(self._body))

    @property
    def reusable(self) -> bool:
        """May the connection take another request?"""
        return self._stays and not self._spoiled

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:  # two answers to one request: the second is nobody's
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if not self.complete:
            self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if self._status < 200:  # "100 Continue" and its like: the answer is yet to come
            self.start_response()
            return
        self.complete = True
        self._stays = self._parser.should_keep_alive() and self._status not in STATUSES_THAT_CLOSE
