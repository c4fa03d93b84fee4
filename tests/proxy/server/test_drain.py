"""The end of a server: what it answers meanwhile, and in which order it ends."""

import http.client
import signal
from pathlib import Path

import pytest

from tests.proxy.server.application import LIFESPAN_LOG
from tests.proxy.server.serving import Answer, Server, serving
from tests.testing.waiting import eventually


def hold(server: Server, held: Path) -> http.client.HTTPConnection:
    """Send a request that is answered when the file exists."""
    connection = server.connection()
    connection.request("GET", f"/hold?{held}")
    assert eventually(held.with_suffix(".begun").exists)
    return connection


def test_request_in_hand_is_answered(tmp_path: Path) -> None:
    """It ends its connection; the application is closed after it."""
    log = tmp_path / "lifespan"
    with serving(env={LIFESPAN_LOG: str(log)}) as server:
        held = hold(server, tmp_path / "held")
        server.process.terminate()
        assert eventually(lambda: not server.accepts())
        assert log.read_text() == "lifespan.startup\n"
        (tmp_path / "held").touch()
        answer = Answer.read(held)
        assert (answer.status, answer.headers["connection"], answer.closes) == (200, "close", True)
        assert server.ended() == "cut 0\n"
        assert log.read_text() == "lifespan.startup\nlifespan.shutdown\n"


def test_idle_connection_may_send_another_request(tmp_path: Path) -> None:
    """A caller that keeps its connection is answered once more, and told to leave."""
    with serving() as server:
        held = hold(server, tmp_path / "held")
        idle = server.connection()
        idle.request("GET", "/echo")
        assert not Answer.read(idle).closes
        server.process.terminate()
        assert eventually(lambda: not server.accepts())
        idle.request("GET", "/ready")
        answer = Answer.read(idle)
        assert (answer.status, answer.closes) == (503, True)
        assert answer.json == {"detail": "the proxy is about to end"}
        (tmp_path / "held").touch()
        assert Answer.read(held).status == 200
        server.ended()


def test_idle_connections_end() -> None:
    """Those that stay idle do not keep the server: it closes them, with no request in between."""
    with serving(drain=2.0) as server:
        used, fresh = server.connection(), server.socket()
        used.request("GET", "/echo")
        Answer.read(used)
        assert server.end() == "cut 0\n"
        assert fresh.recv(1) == b""
        assert used.sock.recv(1) == b""
        fresh.close()
        used.close()


def test_requests_are_cut_after_the_drain_time(tmp_path: Path) -> None:
    """The number of them is returned, and the application is closed all the same."""
    log = tmp_path / "lifespan"
    with serving(drain=0.5, env={LIFESPAN_LOG: str(log)}) as server:
        held = hold(server, tmp_path / "held")
        assert server.end() == "cut 1\n"
        held.close()
        assert log.read_text().endswith("lifespan.shutdown\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_second_signal_ends_at_once(tmp_path: Path, workers: int) -> None:
    """Requests in hand are cut, long before the drain time is over."""
    with serving(drain=100_000.0, workers=workers) as server:
        held = hold(server, tmp_path / "held")
        server.process.send_signal(signal.SIGINT)
        assert eventually(lambda: not server.accepts())
        assert server.end(signal.SIGTERM) == "cut 1\n"
        held.close()


def test_no_drain_time() -> None:
    """With 0 the end waits for nothing."""
    with serving(drain=0) as server, server.socket() as idle:
        assert server.end() == "cut 0\n"
        assert idle.recv(1) == b""


def test_websocket_is_closed() -> None:
    """A WebSocket gets the code 1012, Service Restart."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with serving() as server, connect(f"ws://127.0.0.1:{server.port}/events") as ws:
        assert ws.recv() == "/events"
        server.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert server.ended() == "cut 0\n"


def test_websocket_that_comes_late(tmp_path: Path) -> None:
    """One that is asked for on a connection that was idle is refused: it would keep the server."""
    with serving() as server:
        held = hold(server, tmp_path / "held")
        idle = server.connection()
        idle.request("GET", "/echo")
        Answer.read(idle)
        server.process.terminate()
        assert eventually(lambda: not server.accepts())
        headers = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "sec-websocket-version": "13",
        }
        idle.request("GET", "/events", headers=headers)
        answer = Answer.read(idle)
        assert (answer.status, answer.closes, answer.headers["retry-after"]) == (503, True, "1")
        assert "about to end" in answer.json["detail"]
        (tmp_path / "held").touch()
        assert Answer.read(held).status == 200
        assert server.ended() == "cut 0\n"
