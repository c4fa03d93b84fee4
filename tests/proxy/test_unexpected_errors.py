"""An error that is nobody's intention: the connection is kept, since KATO's is not."""

import http.client
import logging

import pytest

from kato_consul.proxy import session_endpoints
from tests.proxy.served import ServedProxy


def test_connection_is_kept(
    proxy: ServedProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in an endpoint is a 500 and is logged; the next request on the connection is served."""

    def fail(content_type: bytes) -> bool:
        raise ZeroDivisionError

    session = proxy.open()
    monkeypatch.setattr(session_endpoints, "is_json", fail)
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
    connection.auto_open = 0  # another connection would be an error
    connection.connect()
    with caplog.at_level(logging.ERROR, "kato_consul"):
        connection.request("POST", f"{session}/observe", b"{}")
        response = connection.getresponse()
        assert (response.status, response.read()) == (500, b'{"detail":"Internal Server Error"}')
    assert "ZeroDivisionError" in caplog.text
    connection.request("GET", f"{session}/stm")
    assert connection.getresponse().status == 200
    connection.close()
