"""A gateway in front of a stand-in KATO: TLS, a path prefix and an API key, in this process."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kato_consul.testing import find_consul
from kato_consul.testing.kato.app import create_app
from kato_consul.testing.kato.state import Options
from kato_consul.testing.ports import free_ports
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually

PREFIX = "/kato"
KEY = "s3cret-key-of-the-gateway"


class Certificates:
    """A CA with a certificate for 127.0.0.1 and localhost and one for clients; and another CA."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for subcommand in ("ca create", "cert create -server", "cert create -client"):
            self._create(folder, subcommand)
        (folder / "other").mkdir()
        self._create(folder / "other", "ca create")

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "consul-agent-ca.pem"

    @property
    def other_ca(self) -> Path:
        """The certificate of a CA that has signed nothing."""
        return self.folder / "other" / "consul-agent-ca.pem"

    def pair(self, kind: str) -> tuple[Path, Path]:
        """Return the certificate and the key of the ``server`` or of a ``client``."""
        return (
            self.folder / f"dc1-{kind}-consul-0.pem",
            self.folder / f"dc1-{kind}-consul-0-key.pem",
        )

    @staticmethod
    def _create(folder: Path, subcommand: str) -> None:
        argv = [str(find_consul()), "tls", *subcommand.split()]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=30)


class Gateway:
    """Serves a stand-in KATO below ``PREFIX``, and records the headers of each request.

    Args:
        store: the stand-in's SQLite file.
        certificates: for https; None for plain HTTP.
        key: the key to require, in the header ``key_header``; None requires none.
        client_certificate: require a client certificate of the CA.
        instead: answers in the place of KATO, if it is set.
    """

    def __init__(
        self,
        store: Path,
        certificates: Certificates | None = None,
        *,
        key: str | None = KEY,
        key_header: str = "authorization",
        client_certificate: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.key = key
        self.requests: list[tuple[str, Headers]] = []
        self.instead: Callable[[Headers], Response] | None = None
        self._key_header = key_header
        self._store = store
        self._kato: ASGIApp | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind((host, free_ports(1)[0]))
        self.host, self.port = host, int(self._listener.getsockname()[1])
        self.scheme = "http" if certificates is None else "https"
        options: dict[str, Any] = {}
        if certificates is not None:
            options["ssl_certfile"], options["ssl_keyfile"] = certificates.pair("server")
        if certificates is not None and client_certificate:
            options |= {"ssl_ca_certs": certificates.ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="critical",
                timeout_keep_alive=60,
                timeout_graceful_shutdown=1,
                **options,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    @property
    def url(self) -> str:
        """The URL of KATO behind it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{PREFIX}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert eventually(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_until_all_are_accepted()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _wait_until_all_are_accepted(self) -> None:
        """Wait until the server has accepted each connection that a client has made, and given up
        on: asyncio leaves one open that it accepts while its loop ends."""
        with (
            socket.create_connection((self.host, self.port), timeout=10) as last,
            contextlib.suppress(ConnectionError),
        ):
            last.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while last.recv(65_536):
                pass

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        self.requests.append((path, headers))
        if self.instead is not None:
            await self.instead(headers)(scope, receive, send)
        elif not path.startswith(f"{PREFIX}/"):
            await PlainTextResponse("no such path", 404)(scope, receive, send)
        elif self.key is not None and headers.get(self._key_header) != self._expected():
            refused = PlainTextResponse(f"invalid key: {headers.get(self._key_header)}", 401)
            await refused(scope, receive, send)
        else:
            if self._kato is None:  # here, since the store belongs to the thread that opens it
                self._kato = create_app(Options(self._store))
            path = path.removeprefix(PREFIX)
            await self._kato({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _expected(self) -> str:
        return f"Bearer {self.key}" if self._key_header == "authorization" else str(self.key)


class RefusingServer:
    """A server that requires a client certificate, and sends an alert to clients without one.

    It reads what the client has sent, as OpenSSL's and Go's servers do, and then closes.
    """

    def __init__(self, certificates: Certificates) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
        self._context.load_cert_chain(*certificates.pair("server"))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._server = WireServer(self._refuse)
        self.url = self._server.origin.replace("http:", "https:")

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__(None, None, None)

    def _refuse(self, _: WireServer, connection: socket.socket) -> None:
        over_tls = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        with over_tls:
            try:
                over_tls.do_handshake()
            except ssl.SSLError:
                while socket.socket.recv(over_tls, 65_536):
                    pass
