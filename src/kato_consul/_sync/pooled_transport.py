"""httpx's own transport, one for each instance, closed when the instance leaves."""

import ssl
import threading
from collections.abc import Callable, Iterator

import httpx

from kato_consul._http.httpx_adapter import instance_options
from kato_consul._sync.fork_hooks import reset_in_child


class PooledTransport(httpx.BaseTransport):
    """A pool of connections for each origin. ``keepalive`` are the seconds one may be idle.

    Threads may share it. In a forked child it is as new.
    """

    def __init__(self, keepalive: float) -> None:
        self._keepalive = keepalive
        self._pools: dict[str, _Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._making = threading.Lock()
        reset_in_child(self, PooledTransport._reset_in_child)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it over the pool of its origin."""
        url = request.url
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        with self._making:
            pool = self._pools.get(origin)
            if pool is None:
                if url.scheme == "https" and self._tls is None:
                    self._tls = ssl.create_default_context()
                pool = self._pools[origin] = _Pool(self._keepalive, self._tls)
            pool.take()
        return pool.send(request)

    def close_origin(self, origin: str) -> None:
        """Keep no connection to ``origin`` any more; those in use end with their answers."""
        for scheme in ("http", "https"):
            with self._making:
                netloc = httpx.URL(origin).netloc.decode("ascii")
                pool = self._pools.pop(f"{scheme}://{netloc}", None)
            if pool is not None:
                pool.retire()

    def close(self) -> None:
        """Close every connection."""
        with self._making:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.transport.close()

    def _reset_in_child(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._pools = {}
        self._making = threading.Lock()


class _Pool:
    """The transport of one origin, and how many requests and responses it has in hand."""

    def __init__(self, keepalive: float, tls: ssl.SSLContext | None) -> None:
        self.transport = httpx.HTTPTransport(**instance_options(keepalive, tls))
        self._users = 0
        self._retired = False
        self._counting = threading.Lock()

    def take(self) -> None:
        with self._counting:
            self._users += 1

    def send(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self.transport.handle_request(request)
        except BaseException:
            self.release()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Counted(response.stream, self.release),
            extensions=response.extensions,
        )

    def release(self) -> None:
        with self._counting:
            self._users -= 1
            over = self._retired and not self._users
        if over:
            self.transport.close()

    def retire(self) -> None:
        with self._counting:
            self._retired = True
            over = not self._users
        if over:
            self.transport.close()


class _Counted(httpx.SyncByteStream):
    """A response's body, after whose end its pool is let go."""

    def __init__(self, stream: httpx.SyncByteStream, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
