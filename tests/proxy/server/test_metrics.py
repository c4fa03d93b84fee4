"""Metrics: what is counted, over all workers, and under which labels."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from kato_consul.proxy import ApiKey
from kato_consul.proxy.server import metrics_page
from kato_consul.proxy.server.listen_address import ListenAddress
from kato_consul.proxy.server.metrics_page import MetricsPage
from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.metrics_pages import number, page
from tests.proxy.server.serving import serving, started
from tests.security.gateway import Certificates
from tests.testing.waiting import eventually


@pytest.mark.parametrize("workers", [1, 2])
def test_requests(workers: int) -> None:
    """They are counted by route, method and status, with their times, in the sum of all workers."""
    port = free_ports(1)[0]
    with serving(metrics=f"127.0.0.1:{port}", workers=workers) as server:
        for _ in range(20):
            assert server.get("/echo?secret").status == 200
        server.request("LOCK", "/echo")
        labels = '{method="GET",route="/echo",status="200"}'
        assert eventually(lambda: number(port, f"kato_proxy_requests_total{labels}") == 20)
        labels = '{method="GET",route="/echo"}'
        assert number(port, f"kato_proxy_request_duration_seconds_count{labels}") == 20
        assert number(port, f"kato_proxy_request_duration_seconds_sum{labels}") > 0
        assert number(port, "kato_proxy_requests_in_flight") == 0
        assert 'method="other"' in page(port)
        assert "secret" not in page(port)


def test_connections_and_rejections(tmp_path: Path) -> None:
    """Open connections, and refusals by their reason; without names of callers."""
    port, key = free_ports(1)[0], ApiKey.create("shop")
    keys = tmp_path / "keys"
    keys.write_text(key.line)
    with serving(
        metrics=f"127.0.0.1:{port}",
        api_keys=keys,
        max_body=10,
        max_connections=2,
        rate=0.001,
        prefix="/kato",
        head_within=0.2,
    ) as server:
        with server.socket(), server.socket():
            assert eventually(lambda: number(port, "kato_proxy_connections") == 2)
            assert server.get("/kato/echo").status == 503
        assert eventually(lambda: number(port, "kato_proxy_connections") == 0)
        answers = [
            server.get("/echo").status,
            server.get("/kato/echo").status,
            server.request("POST", "/kato/echo", b"a" * 11, x_api_key=key.key.reveal()).status,
            server.get("/kato/echo", x_api_key=key.key.reveal()).status,
        ]
        assert answers == [404, 401, 413, 429]
        with server.socket() as one:
            one.sendall(b"no HTTP\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 400")
        with server.socket() as one:
            one.sendall(b"GET")
            assert one.recv(100).startswith(b"HTTP/1.1 408")
        shown = page(port)
    reasons = dict(re.findall(r'kato_proxy_rejected_total{reason="(\w+)"} ([0-9.]+)', shown))
    expected = ("prefix", "unauthorized", "too_large", "rate", "connections", "malformed", "slow")
    assert reasons.pop("handshake") == "0.0"
    assert {name: float(value) for name, value in reasons.items()} == dict.fromkeys(expected, 1.0)
    assert 'route="other"' in shown
    assert "shop" not in shown
    assert key.key.reveal() not in shown


def test_worker_that_dies() -> None:
    """What it has counted stays, and what it had open does not."""
    port = free_ports(1)[0]
    with serving(metrics=f"127.0.0.1:{port}", workers=2) as server:
        for _ in range(10):
            assert server.get("/echo").status == 200
        connection = server.connection()
        connection.request("GET", "/crash")
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()
        labels = '{method="GET",route="/echo",status="200"}'
        assert number(port, f"kato_proxy_requests_total{labels}") == 10
        assert eventually(lambda: number(port, "kato_proxy_requests_in_flight") == 0)
        assert eventually(lambda: number(port, "kato_proxy_connections") == 0)


def test_port_in_use() -> None:
    """The server does not start, and says which option is meant."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with started(metrics=address) as server:
            assert f"--metrics {address} cannot be used: another program" in server.ended()
            assert server.process.returncode == 2


@pytest.mark.parametrize("option", ["replace", "share_port"])
def test_next_server(option: str) -> None:
    """It shares the port of the metrics until the one before it has ended."""
    port = free_ports(1)[0]
    given: dict[str, Any] = {option: True, "metrics": f"127.0.0.1:{port}"}
    with (
        serving(metrics=f"127.0.0.1:{port}") as first,
        serving(port=first.port, **given) as second,
    ):
        if option == "share_port":
            first.process.terminate()
        first.ended()
        assert second.get("/echo").status == 200
        assert eventually(lambda: 'route="/echo"' in page(port))


@pytest.mark.parametrize("given", [{}, {"replace": True}])
def test_port_of_another_proxy(given: dict[str, Any]) -> None:
    """A proxy of another address has the port of its metrics for itself."""
    metrics = f"127.0.0.1:{free_ports(1)[0]}"
    with serving(metrics=metrics), started(metrics=metrics, **given) as other:
        assert f"--metrics {metrics} cannot be used: another program" in other.ended()


@pytest.mark.parametrize("loop", EVENT_LOOPS)
def test_handshakes(tmp_path: Path, loop: str) -> None:
    """A TLS handshake that takes too long or fails is counted; one that is broken off is not."""
    loop_factory(loop)  # skips if it is not installed
    port = free_ports(1)[0]
    certificate, key = Certificates(tmp_path).pair("server")
    series = 'kato_proxy_rejected_total{reason="handshake"}'
    with serving(
        env={"TEST_LOOP": loop},
        metrics=f"127.0.0.1:{port}",
        tls_cert=certificate,
        tls_key=key,
        head_within=0.5,
    ) as server:
        server.socket().close()
        with server.socket() as slow:
            assert slow.recv(1) == b""  # when it has been cut
            assert eventually(lambda: number(port, series) == 1)
        with server.socket() as other:
            other.sendall(b"no TLS at all")
            assert eventually(lambda: number(port, series) == 2)


def test_reader_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut, also if it sends a byte from time to time; others are not."""
    monkeypatch.setattr(metrics_page, "READ_WITHIN", 0.2)
    address = ListenAddress("127.0.0.1", free_ports(1)[0])
    with (
        MetricsPage(address, 1, beside=False),
        socket.create_connection((address.host, address.port)) as reader,
    ):

        def is_cut() -> bool:
            try:
                reader.send(b"a")
            except ConnectionError:
                return True
            return False

        assert eventually(is_cut)
        monkeypatch.undo()
        assert "python_info" in page(address.port)


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\n"])
def test_reader_that_sends_nothing(sent: bytes) -> None:
    """It keeps neither others from the page, nor the server from its end."""
    port = free_ports(1)[0]
    with (
        serving(metrics=f"127.0.0.1:{port}") as server,
        socket.create_connection(("127.0.0.1", port)) as reader,
    ):
        reader.sendall(sent)
        assert eventually(lambda: number(port, "kato_proxy_connections") == 0)
        assert server.end() == "cut 0\n"
