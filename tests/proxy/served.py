"""Proxies served by uvicorn in a thread of the test process, and callers that know only HTTP."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import uvicorn
from starlette.types import Receive, Scope, Send

from kato_consul import Settings
from kato_consul.proxy import create_app
from kato_consul.proxy.http import CALLER
from kato_consul.testing.ports import free_ports

START_WITHIN = 20.0


class Response(NamedTuple):
    """A response; ``headers`` by lower-case name, ``json`` is None if the body is none."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any


def call(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 40.0,
) -> Response:
    """Make one request, on a connection of its own, as a caller without any retries."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        given = {"content-type": "application/json", **(headers or {})}
        if body is None:
            data, given = None, dict(headers or {})
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, given)
        response = connection.getresponse()
        text = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        return Response(response.status, found, text, decoded)
    finally:
        connection.close()


class ServedProxy:
    """A proxy in a thread; a ``with`` block starts and stops it. ``caller`` is the name of the API
    key that all requests have."""

    def __init__(self, settings: Settings, *, caller: str = "") -> None:
        self.port = free_ports(1)[0]
        app = create_app(settings)

        async def called(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, CALLER: caller} if caller else scope, receive, send)

        config = uvicorn.Config(
            called,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_keep_alive=60,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + START_WITHIN
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the proxy did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one request."""
        return call(self.port, method, path, body, headers)

    def open(self, node_id: str = "node", **options: Any) -> str:
        """Open a session, and return its path."""
        response = self.call("POST", "/sessions", {"node_id": node_id, **options})
        assert response.status == 200, response.body
        return f"/sessions/{response.json['session_id']}"

    def observe(self, session: str, *symbols: str, **headers: str) -> Response:
        """Observe one event in the session with this path."""
        return self.call("POST", f"{session}/observe", {"strings": list(symbols)}, headers)

    def stm(self, session: str) -> list[list[str]]:
        """Return the memory of the session with this path."""
        response = self.call("GET", f"{session}/stm")
        assert response.status == 200, response.body
        events: list[list[str]] = response.json["stm"]
        return events
