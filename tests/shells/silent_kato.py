"""A KATO that opens sessions and never responds to anything else."""

import json
import socket

from tests.shells.wire_server import WireServer


def respond(connection: socket.socket, response: object, headers: bytes = b"") -> None:
    """Send a complete response with this JSON, and with ``headers``, each with its line end."""
    body = json.dumps(response).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
    connection.sendall(head % (len(body), headers) + body)


def open_sessions_only(server: WireServer, connection: socket.socket) -> None:
    """Respond to the requests that open a session, and to no other until the client closes."""
    connection.settimeout(60.0)
    while request := server.read(connection):
        if not request.startswith(b"POST /sessions HTTP"):
            continue
        respond(connection, {"session_id": f"session-{len(server.requests)}", "session_config": {}})


def requests_in_flight(server: WireServer) -> int:
    """Return the number of requests that were received and got no response."""
    return sum(not one.startswith(b"POST /sessions HTTP") for one in server.requests)
