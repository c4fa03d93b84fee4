"""TCP proxy: a stable address before a server that is replaced, slow, or cut off."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Self

from kato_consul.testing.ports import HOST, free_ports


class TcpProxy:
    """Forwards connections to a port of this machine.

    ``target`` is the port that new connections lead to. ``cut_reply`` is called with what the
    server sends: if it returns True, the connection is closed, and the reply lost. While ``held``
    is set, nothing is forwarded. ``delay`` is added before a reply is forwarded, in
    seconds. ``tls``: its own side has TLS.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self._tls = tls
        self.cut_reply: Callable[[bytes], bool] = lambda reply: False
        self.held = False
        self.delay = 0.0
        self._released = threading.Condition()
        self._open: set[socket.socket] = set()
        (self.port,) = free_ports(1)
        self._server = socket.create_server((HOST, self.port))

    def __enter__(self) -> Self:
        self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.hold(False)

    @property
    def url(self) -> str:
        """The URL of a Redis behind it."""
        return f"redis://{HOST}:{self.port}/0"

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut_all()

    def accept_again(self) -> None:
        """Accept connections again."""
        self._server = socket.create_server((HOST, self.port))
        self._serve()

    def cut_all(self) -> None:
        """Cut all connections."""
        for one in tuple(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def hold(self, held: bool) -> None:
        """Forward nothing, or go on."""
        with self._released:
            self.held = held
            self._released.notify_all()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                if self._tls is not None:
                    client = self._tls.wrap_socket(client, server_side=True)
                server = socket.create_connection((HOST, self.target))
            except OSError:  # of TLS, too
                client.close()
                continue
            self._open |= {client, server}
            if listener.fileno() == -1:  # refused meanwhile
                self.cut_all()
            for source, sink in ((client, server), (server, client)):
                arguments = source, sink, source is server
                threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                with self._released:
                    self._released.wait_for(lambda: not self.held)
                if is_reply and self.delay:
                    time.sleep(self.delay)
                if is_reply and self.cut_reply(data):
                    break
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        if is_reply:
            for one in (source, sink):
                one.close()
