"""Keep-alive probe: detects servers that close idle connections before the client does."""

import http.client
import selectors
import time
from collections.abc import Mapping

KEEPALIVE_PROBE_TIMEOUT = 5.0
"""Seconds to connect, and seconds for each read of the response."""


def closed_while_idle(endpoints: Mapping[str, tuple[str, int]], seconds: float) -> dict[str, bool]:
    """Send a request to each endpoint, and keep its connection idle for ``seconds``.

    Args:
        endpoints: host and port by name. All are probed at the same time.
        seconds: how long each connection is idle.

    Returns:
        Whether the server closed the connection, by name. Endpoints that do not answer are left
        out.
    """
    connections: list[http.client.HTTPConnection] = []
    closed: dict[str, bool] = {}
    with selectors.DefaultSelector() as selector:
        try:
            for name, (host, port) in endpoints.items():
                connection = http.client.HTTPConnection(host, port, KEEPALIVE_PROBE_TIMEOUT)
                connections.append(connection)
                try:
                    connection.request("GET", "/health")
                    connection.getresponse().read()
                except (OSError, http.client.HTTPException):
                    continue
                closed[name] = connection.sock is None  # the server closed it with its response
                if not closed[name]:
                    selector.register(connection.sock, selectors.EVENT_READ, name)
            deadline = time.monotonic() + seconds
            while len(selector.get_map()) and (remaining := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(remaining):
                    closed[key.data] = True
                    selector.unregister(key.fileobj)
        finally:
            for connection in connections:
                connection.close()
    return closed
