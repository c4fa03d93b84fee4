"""Instance that records its requests, and shows in its answers which one answered."""

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from kato_consul.testing.ports import HOST, free_ports

CUT = "X-Test-Cut"
"""A request with this header is recorded and gets no answer: its connection is closed."""

STATUS = "X-Test-Status"
"""The status that a request wants."""


WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server puts after the key of a handshake (RFC 6455)."""


@dataclass(frozen=True)
class Recorded:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections are reset, and handshakes fail, on purpose."""


class Recorder:
    """An HTTP/1.1 server, as a context manager. ``requests`` is what arrived.

    With ``tls`` it is one of HTTPS.
    """

    def __init__(self, name: str, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.requests: list[Recorded] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                recorder.requests.append(Recorded(self.command, self.path, headers))
                if CUT in self.headers:
                    self.close_connection = True
                    return
                if self.headers.get("upgrade", "").lower() == "websocket":
                    self._echo_bytes()
                    return
                body = {"name": recorder.name, "path": self.path, "headers": headers}
                self._answer(int(self.headers.get(STATUS, "200")), json.dumps(body).encode())

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _echo_bytes(self) -> None:
                """Switch protocols, and return one byte as it came."""
                accept = sha1(f"{self.headers['sec-websocket-key']}{WEBSOCKET}".encode())
                self.send_response(101)
                self.send_header("upgrade", "websocket")
                self.send_header("connection", "upgrade")
                self.send_header("sec-websocket-accept", b64encode(accept.digest()).decode())
                self.end_headers()
                self.wfile.write(self.rfile.read(1))
                self.close_connection = True

            do_GET = do_POST = _serve  # noqa: N815 - names of the base class

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing."""

        (self.port,) = free_ports(1)
        self._server = _Server((HOST, self.port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening: connections are refused. Idempotent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
