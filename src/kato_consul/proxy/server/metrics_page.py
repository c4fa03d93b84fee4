"""The page with the metrics, on a port of its own, for all workers."""

import contextlib
import os
import socket
import tempfile
import threading
import time
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from kato_consul.proxy.server.listen_address import ListenAddress
from kato_consul.proxy.server.listening import let_others_listen, unusable

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of prometheus_client that makes processes write their numbers into files."""

READ_WITHIN = 10.0
"""Seconds that a reader of the page may take, from its connection to the end of the answer."""


class MetricsPage:
    """Serves the metrics in a thread, while the block runs.

    Args:
        address: where; None: nowhere.
        workers: processes that count. With more than one their numbers are in files of a
            temporary folder; they inherit its name from the environment of this process.
        beside: whether another proxy may serve its metrics there.
    """

    def __init__(self, address: ListenAddress | None, workers: int, *, beside: bool) -> None:
        self._address = address
        self._workers = workers
        self._beside = beside
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: WSGIServer | None = None

    def __enter__(self) -> Self:
        if self._address is None:
            return self
        if self._workers > 1:
            self._folder = tempfile.TemporaryDirectory(prefix="kato-consul-proxy-")
            os.environ[FOLDER_VARIABLE] = self._folder.name
        from prometheus_client import make_wsgi_app

        try:
            where = self._address.host, self._address.port
            self._server = _Server(self._beside, where, _SilentHandler)
        except OSError as error:
            self._remove_folder()
            raise unusable("--metrics", self._address, error) from None
        self._server.set_app(make_wsgi_app(self._registry()))
        serving = threading.Thread(
            target=self._server.serve_forever, name="kato-consul metrics", daemon=True
        )
        serving.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._remove_folder()

    def worker_ended(self, pid: int) -> None:
        """Forget what a worker has open; what it has counted stays."""
        if self._folder is not None:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(pid, self._folder.name)  # type: ignore[no-untyped-call]

    def _registry(self) -> "CollectorRegistry":
        from prometheus_client import REGISTRY, CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        if self._folder is None:
            return REGISTRY
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._folder.name)  # type: ignore[no-untyped-call]
        return registry

    def _remove_folder(self) -> None:
        if self._folder is not None:
            os.environ.pop(FOLDER_VARIABLE, None)
            self._folder.cleanup()


class _Server(ThreadingMixIn, WSGIServer):
    """With SO_REUSEPORT, as the proxy's own port: the next proxy starts before this one ends.

    Each reader has a thread of its own, which is not waited for: one that sends nothing would keep
    others from the page, and the process from its end. A reader that takes too long is cut. (A time
    limit of its socket would begin anew with each byte.)
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, beside: bool, address: tuple[str, int], handler: Any) -> None:
        self.allow_reuse_port = beside
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._until: dict[socket.socket, float] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind the socket, and let the next proxy do so, too."""
        super().server_bind()
        let_others_listen(self.socket)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a reader in a thread."""
        self._until[request] = time.monotonic() + READ_WITHIN
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection of a reader: called in its thread."""
        self._until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut readers that take too long: called twice a second."""
        now = time.monotonic()
        for reader, until in self._until.copy().items():
            if now > until:
                with contextlib.suppress(OSError):  # its thread has closed it meanwhile
                    reader.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing of a reader that left, or sent nothing."""


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Log nothing."""
