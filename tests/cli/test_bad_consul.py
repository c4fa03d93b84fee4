"""Bad responses of Consul: every command ends with a message and the exit code that fits."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kato_consul.testing.ports import free_ports
from tests.cli.running import all_at_once, without_waiting

ONE = ["--name", "kato", "--port", "8000", "--address", "127.0.0.1"]


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    """The address of a server that answers every request in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "message"),
    [
        (500, b"No cluster leader", {}, 3, "cannot serve now: 500 No cluster leader"),
        (503, b"", {"retry-after": "1"}, 3, "cannot serve now: 503"),
        (429, b"Your IP is issuing too many requests", {}, 3, "429 Your IP is issuing"),
        (403, b"Permission denied", {}, 4, "CONSUL_HTTP_TOKEN"),
        (404, b"404 page not found", {}, 1, "is this a Consul agent?"),
        (301, b"", {"location": "https://elsewhere/"}, 1, "https://elsewhere/"),
        (200, b"<html>Welcome to nginx!</html>", {}, 1, "unreadable"),
        (200, b'["not", "a", "table"]', {}, 1, "unreadable"),
        (200, b'{"kato-8000": 5}', {}, 1, "unreadable"),
        (200, b"\xff\xfe", {}, 1, "unreadable"),
    ],
)
def test_bad_response(
    status: int, body: bytes, headers: dict[str, str], code: int, message: str
) -> None:
    """No command accepts a bad response as a good one, and none ends in a traceback."""
    with answering(status, body, headers) as address:
        where = ["--consul", address]
        commands = [
            ["register", *ONE, "--wait-consul", "100ms", *where],
            ["run", *ONE, "--wait-consul", "100ms", *where],
            ["doctor", *where],
        ]
        if code != 3:  # for which these two wait 10 s
            commands += [["deregister", "kato-8000", *where]]
            commands += [["drain", "kato-8000", "--wait", "0", *where]]
        answers = all_at_once(*commands)
    for (command, *_), done in zip(commands, answers, strict=True):
        assert "Traceback" not in done.stderr
        if command == "doctor":
            assert done.returncode == 9, done.stdout
        else:
            assert done.returncode == code, (command, done.stderr)
            assert message in done.stderr
            assert without_waiting(done.stderr).startswith("error: ")


def test_entry_that_cannot_be_read() -> None:
    """The other instances are listed, and the entry is named with the reason."""
    node = {"Node": "box", "Address": "10.0.0.1"}
    entries = [
        {"Node": node, "Service": {"ID": f"kato-{number}", "Service": "kato", "Port": port}}
        for number, port in ((1, 8000), (2, "8000"))
    ]
    headers = {"x-consul-index": "7"}
    with answering(200, json.dumps(entries).encode(), headers) as address:
        plain, listed = all_at_once(
            ["instances", "--consul", address], ["instances", "--json", "--consul", address]
        )
    for done in (plain, listed):
        assert done.returncode == 0, done.stderr
        assert "warning: an entry of Consul's list cannot be read: 'kato-2': " in done.stderr
    assert "kato: 1 instance: 1 passing; 1 cannot be read" in plain.stdout
    found = json.loads(listed.stdout)
    assert [one["id"] for one in found["instances"]] == ["kato-1"]
    assert found["unreadable"][0].startswith("'kato-2': ")
