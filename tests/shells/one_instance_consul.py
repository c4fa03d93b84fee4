"""A Consul agent that lists one instance, which never changes."""

import socket

from tests.shells.silent_kato import respond
from tests.shells.wire_server import WireServer

CATALOG = [
    {
        "Node": {"Node": "node-1", "Address": "127.0.0.1", "Datacenter": "dc1"},
        "Service": {
            "ID": "kato-1",
            "Service": "kato",
            "Address": "127.0.0.1",
            "Port": 8000,
            "Tags": [],
            "Meta": {},
            "Weights": {"Passing": 1, "Warning": 1},
        },
        "Checks": [{"CheckID": "check-1", "Status": "passing", "Output": ""}],
    }
]


def list_one_instance(server: WireServer, connection: socket.socket) -> None:
    """Respond to queries that do not block, and to no blocking one until the client closes."""
    connection.settimeout(60.0)
    while request := server.read(connection):
        if b"index=" not in request.split(b"\r\n")[0]:
            respond(connection, CATALOG, b"x-consul-index: 7\r\n")
