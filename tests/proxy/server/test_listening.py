"""What a server listens on: TLS, unix sockets, IPv6, and addresses that cannot be used."""

import json
import os
import signal
import socket
import ssl
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from kato_consul import ConfigurationError
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server.listen_address import ListenAddress
from kato_consul.proxy.server.listening import open_sockets, shares, start_listening
from kato_consul.proxy.server.tls import server_tls
from kato_consul.testing.ports import free_ports
from tests.event_loops import EVENT_LOOPS, loop_factory
from tests.proxy.server.serving import ENDS_WITHIN, serving, started
from tests.security.gateway import Certificates
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA, and certificates of it."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("loop", EVENT_LOOPS)
def test_tls(certificates: Certificates, loop: str) -> None:
    """It serves https, and nothing else; a handshake that does not end holds up no other."""
    loop_factory(loop)
    cert, key = certificates.pair("server")
    context = ssl.create_default_context(cafile=certificates.ca)
    with (
        serving(tls_cert=cert, tls_key=key, env={"TEST_LOOP": loop}) as server,
        server.socket() as unfinished,
        httpx.Client(verify=context, trust_env=False) as http,
    ):
        url = f"https://127.0.0.1:{server.port}/echo"
        assert http.get(url).json()["path"] == "/echo"
        with server.socket() as plain:
            plain.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
            answer = HTTPResponse(plain)
            answer.begin()
            assert (answer.status, answer.getheader("connection")) == (400, "close")
            assert json.loads(answer.read())["detail"] == "this port serves https, and not http"
        server.process.terminate()
        assert eventually(lambda: not server.accepts())
        # The connection that is open may be used once more.
        assert http.get(url).headers["connection"] == "close"
        unfinished.close()
        assert server.ended() == "cut 0\n"


def test_client_certificates(certificates: Certificates) -> None:
    """With --client-ca a caller needs one of that CA."""
    cert, key = certificates.pair("server")
    with serving(tls_cert=cert, tls_key=key, client_ca=certificates.ca) as server:
        url = f"https://127.0.0.1:{server.port}/echo"
        context = ssl.create_default_context(cafile=certificates.ca)
        with (
            httpx.Client(verify=context, trust_env=False) as http,
            pytest.raises(httpx.TransportError),
        ):
            http.get(url)
        context.load_cert_chain(*certificates.pair("client"))
        with httpx.Client(verify=context, trust_env=False) as http:
            assert http.get(url).status_code == 200


def test_files_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    """Each error has the option, the file and the reason."""
    cert, key = certificates.pair("server")
    none = tmp_path / "none"
    none.write_text("")
    table: list[tuple[dict[str, Any], str]] = [
        ({"tls_cert": tmp_path / "missing", "tls_key": key}, "No such file or directory"),
        ({"tls_cert": none, "tls_key": key}, f"--tls-cert {none} cannot be used: it has no cert"),
        (
            {"tls_cert": cert, "tls_key": none},
            f"--tls-key {none} cannot be used: it has no private",
        ),
        ({"tls_cert": key, "tls_key": cert}, "it has the key: swap the two files"),
        (
            {"tls_cert": certificates.ca, "tls_key": key},
            "the key is not that of the certificate",
        ),
        ({"tls_cert": cert, "tls_key": key, "client_ca": none}, "--client-ca"),
    ]
    for given, message in table:
        with pytest.raises(ConfigurationError) as raised:
            server_tls(ServerOptions(**given))
        assert message in str(raised.value)


def test_unix_socket(tmp_path: Path) -> None:
    """The next server takes it over; a file that is no socket is left alone."""
    path = tmp_path / "kato.sock"
    with serving(listen=f"unix://{path}") as first:
        assert get(path)["path"] == "/echo"
        with started(listen=f"unix://{path}") as refused:
            assert f"kato-consul proxy, process {first.process.pid}: --replace" in refused.ended()
        assert get(path)["pid"] == first.process.pid
        with serving(listen=f"unix://{path}", replace=True) as second:
            assert first.ended() == "cut 0\n"
            assert get(path)["pid"] == second.process.pid
    with serving(listen=f"unix://{path}"):  # the file of a server that has ended
        assert get(path)["path"] == "/echo"
    other = tmp_path / "other"
    other.write_text("kept")
    with started(listen=f"unix://{other}") as server:
        assert "the file exists, and is no socket" in server.ended()
    assert other.read_text() == "kept"


def test_workers_of_a_unix_socket(tmp_path: Path) -> None:
    """All of them accept: while one is stopped, the other one answers."""
    path = tmp_path / "kato.sock"
    with serving(listen=f"unix://{path}", workers=2):
        first = int(str(get(path)["pid"]))
        os.kill(first, signal.SIGSTOP)
        try:
            second = int(str(get(path)["pid"]))
        finally:
            os.kill(first, signal.SIGCONT)
        assert second != first


def test_ipv6() -> None:
    """An address in brackets."""
    port = free_ports(1)[0]
    with serving(listen=f"[::1]:{port}") as server:
        answer = httpx.get(f"http://[::1]:{port}/echo", trust_env=False)
        assert answer.json()["pid"] == server.process.pid


def test_localhost() -> None:
    """All addresses of the name, and a socket of each for each worker."""
    port = free_ports(1)[0]
    sockets = open_sockets("--listen", ListenAddress("localhost", port), 2)
    try:
        addresses = {one.getsockname()[0] for one in sockets}
        assert "127.0.0.1" in addresses
        assert len(sockets) == 2 * len(addresses)
        for share in shares(len(sockets), 2):
            assert {sockets[number].getsockname()[0] for number in share} == addresses
    finally:
        for one in sockets:
            one.close()


def test_port_in_use() -> None:
    """By a program that is no proxy."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as other:
        port = other.getsockname()[1]
        with started(port=port) as server:
            printed = server.ended()
        assert f"--listen 127.0.0.1:{port} cannot be used: another program listens" in printed
        assert server.process.returncode == 2


def test_port_in_use_meanwhile() -> None:
    """By a program that came to listen before the sockets of a successor did."""
    address = ListenAddress("127.0.0.1", free_ports(1)[0])
    (bound,) = open_sockets("--listen", address, 1, beside=True)
    with (
        bound,
        socket.create_server((address.host, address.port)),
        pytest.raises(ConfigurationError) as raised,
    ):
        start_listening("--listen", address, [bound])
    assert str(raised.value).startswith(f"--listen {address} cannot be used: another program")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (ListenAddress("192.0.2.1", 8000), "this machine has no such address"),
        (ListenAddress("no-such-host.invalid", 8000), "the host is not known"),
        (ListenAddress("a..b", 8000), "the host is not known"),
        (ListenAddress("", 0, "/no/such/folder/socket"), "No such file or directory"),
    ],
)
def test_address_that_cannot_be_used(address: ListenAddress, message: str) -> None:
    """With the reason."""
    with pytest.raises(ConfigurationError) as raised:
        open_sockets("--listen", address, 1)
    assert str(raised.value).startswith(f"--listen {address}")
    assert message in str(raised.value)


def get(path: Path) -> dict[str, object]:
    """Send a request to a unix socket, and return its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(ENDS_WITHIN)
        one.connect(str(path))
        one.sendall(b"GET /echo HTTP/1.1\r\nconnection: close\r\n\r\n")
        response = HTTPResponse(one)
        response.begin()
        answer: dict[str, object] = json.loads(response.read())
    return answer
