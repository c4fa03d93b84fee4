"""An exception that KATO does not expect: a 500 in plain text, after which uvicorn hangs up."""

import socket

import httpx

from tests.conformance.conftest import SessionClient

UNEXPECTED = b'{"config": 5}'  # fails in the endpoint, after the request's validation


def test_the_connection_is_closed_without_notice(
    http: httpx.Client, session: SessionClient
) -> None:
    """The 500 has no `connection: close`, no trace id and no CORS header; the server closes."""
    url = httpx.URL(session.url)
    request = [
        f"POST /sessions/{session.id}/config HTTP/1.1",
        f"host: {url.host}:{url.port}",
        "origin: http://shop.example",
        "content-type: application/json",
        f"content-length: {len(UNEXPECTED)}",
    ]
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall("\r\n".join([*request, "", ""]).encode() + UNEXPECTED)
        answer = b""
        while data := connection.recv(65536):  # ends because the server closes the connection
            answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert body == "Internal Server Error"
    assert headers.pop("date")
    assert headers == {
        "server": "uvicorn",
        "content-length": str(len(body)),
        "content-type": "text/plain; charset=utf-8",
    }
    assert session.stm == []
