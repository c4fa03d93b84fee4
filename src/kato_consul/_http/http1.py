"""HTTP/1.1 for both shells: request bytes, and a response parser over llhttp.

llhttp is Node's parser, and httptools its Python binding. uvicorn, and so KATO, parses requests
with it, too. This module has only what a client of one API needs: no redirects, cookies, proxies or
compression.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from kato_consul._flow import Reply, Send
from kato_consul._http.endpoint import (
    MAX_BODY,
    MAX_HEAD,
    STATUSES_THAT_CLOSE,
    Endpoint,
    require_one_request,
)

HttpError = HttpParserError

HEAD = b"HEAD "
"""How a request starts whose response has no body, whatever its headers say."""

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests need a ``content-length``, even if it is 0."""


def request_bytes(step: Send, to: Endpoint) -> bytes:
    """Return the whole request.

    Raises:
        ValueError: it would not be exactly one request.
    """
    require_one_request(step)
    head = f"{step.method} {to.prefix}{step.target} HTTP/1.1\r\nhost: {to.host}\r\n"
    if to.headers is not None:
        head += to.headers.lines()
    for name, value in step.headers.items():
        head += f"{name}: {value}\r\n"
    body = step.body
    if body or step.method in METHODS_WITH_BODY:
        head += f"content-length: {len(body)}\r\n"
    return b"%b\r\n%b" % (head.encode("latin-1"), body)


class ResponseParser:
    """Parses the responses on one connection, one after the other."""

    __slots__ = (
        "_body",
        "_bodyless",
        "_headers",
        "_keep_alive",
        "_parser",
        "_received",
        "_status",
        "_unusable",
        "complete",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._unusable = False
        self.start_response()

    def start_response(self, request: bytes = b"") -> None:
        """Prepare for the response to ``request``."""
        self._bodyless = request.startswith(HEAD)
        self._received = 0
        self._start_head()

    def _start_head(self) -> None:
        self.complete = False
        self._status = 0
        self._keep_alive = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Parse received data; ``complete`` is True after the whole response.

        Raises:
            HttpError: the data is not HTTP, or the response is too long.
        """
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise HttpError("it switches to another protocol") from None
        except HttpParserError as error:
            self._unusable = True
            if (cause := error.__context__) is not None and not isinstance(cause, Exception):
                raise cause from None  # KeyboardInterrupt in a callback of the parser
            if not self.complete:  # otherwise the response is valid: the error is in data after it
                raise
        if not self.complete:
            self._received += len(data)
            if self._received > (MAX_BODY if self._status else MAX_HEAD):
                part = "body" if self._status else "head"
                raise HttpError(f"its {part} is too long: {self._received} bytes, and no end")

    def end_of_stream(self) -> bool:
        """Return whether the response is complete at the end of the connection.

        A response whose headers do not give its length ends with the connection.
        """
        has_length = "content-length" in self._headers or "transfer-encoding" in self._headers
        self._unusable = True
        if self._status and not has_length:
            self.complete = True
        return self.complete

    def reply(self) -> Reply:
        """Return the response."""
        return Reply(self._status, self._headers, b"".join(self._body))

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another request."""
        return self._keep_alive and not self._unusable

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        if self.complete:  # a second response to one request
            self._unusable = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        earlier = self._headers.get(key)
        self._headers[key] = text if earlier is None else f"{earlier}, {text}"

    def on_headers_complete(self) -> None:
        if not self.complete:
            self._status = self._parser.get_status_code()
            if self._bodyless and self._status >= 200:  # the parser expects a body, and is not told
                self._unusable = self.complete = True

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if self._status < 200:  # an interim response such as "100 Continue"
            self._start_head()
            return
        self.complete = True
        stays_open = self._status not in STATUSES_THAT_CLOSE
        self._keep_alive = self._parser.should_keep_alive() and stays_open
