"""Keep-alive probe: detects servers that close idle connections before the client does."""

import http.client
import selectors
import socket
import ssl
import time
from collections.abc import Mapping

from kato_consul._http.endpoint import Endpoint

KEEPALIVE_PROBE_TIMEOUT = 5.0
"""Seconds to connect, and seconds for each read of the response."""


def closed_while_idle(endpoints: Mapping[str, Endpoint], seconds: float) -> dict[str, bool]:
    """Send a request to each endpoint, and keep its connection idle for ``seconds``.

    Args:
        endpoints: the endpoints by name. All are probed at the same time.
        seconds: how long each connection is idle.

    Returns:
        Whether the server closed the connection, by name. Endpoints that do not answer are left
        out, and those that announce in their response that they close the connection: no client
        sends another request on it.
    """
    connections: list[_Connection] = []
    closed: dict[str, bool] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for name, endpoint in endpoints.items():
                connection = _Connection(endpoint)
                connections.append(connection)
                headers = {"host": endpoint.host}
                if endpoint.headers is not None:
                    headers |= endpoint.headers.all()
                try:
                    connection.request("GET", f"{endpoint.prefix}/health", headers=headers)
                    connection.getresponse().read()
                except (OSError, http.client.HTTPException):
                    continue
                if connection.sock is not None:  # None: the response had "Connection: close"
                    closed[name] = False
                    selector.register(connection.sock, selectors.EVENT_READ, name)
            deadline = time.monotonic() + seconds
            while len(selector.get_map()) and (remaining := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(remaining):
                    assert isinstance(key.fileobj, socket.socket)
                    if _is_closed(key.fileobj):
                        closed[key.data] = True
                        selector.unregister(key.fileobj)
        finally:
            for connection in connections:
                connection.close()
    return closed


class _Connection(http.client.HTTPConnection):
    """A connection to an endpoint. http.client's own for TLS takes no server name."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.address, endpoint.port, KEEPALIVE_PROBE_TIMEOUT)
        self._endpoint = endpoint

    def connect(self) -> None:
        super().connect()
        tls = self._endpoint.tls
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=self._endpoint.server_name)


def _is_closed(connected: socket.socket) -> bool:
    """Return whether a readable connection is closed: over TLS it may be a new session ticket."""
    if not isinstance(connected, ssl.SSLSocket):
        return True
    connected.setblocking(False)
    try:
        connected.recv(1)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        pass
    return True
