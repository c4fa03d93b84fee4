"""Options of the server: what is refused, and with which advice."""

from pathlib import Path
from typing import Any

import pytest

from kato_consul import ConfigurationError, Settings
from kato_consul.proxy import ServerOptions
from kato_consul.proxy.server.listen_address import MAX_PATH, ListenAddress

FILE = Path("file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"listen": "8000"}, "write host:port, such as 127.0.0.1:8000"),
        ({"listen": "127.0.0.1:0"}, "write host:port"),
        ({"listen": "127.0.0.1:65536"}, "write host:port"),
        ({"listen": "::1:8000"}, "write host:port"),
        ({"listen": "unix://relative"}, "unix:///path"),
        ({"listen": f"unix:///{'s' * MAX_PATH}"}, "may have 94 bytes, and this one has 95"),
        ({"listen": "0.0.0.0:8000"}, "give --api-keys or --client-ca"),
        ({"listen": "[::]:8000"}, "give --api-keys or --client-ca"),
        ({"listen": "10.0.0.1:8000", "tls_cert": FILE, "tls_key": FILE}, "--insecure"),
        ({"listen": "no-such-host.invalid:80"}, "the host is not known"),
        ({"replace": True, "share_port": True}, "--replace and --share-port contradict"),
        ({"prefix": "kato"}, "--prefix 'kato' cannot be used: write it like /kato"),
        ({"prefix": "/a?b"}, "--prefix"),
        ({"workers": 0}, "--workers must be 1 to 64"),
        ({"workers": 65}, "--workers must be 1 to 64"),
        ({"max_body": 0}, "--max-body must be above 0"),
        ({"max_connections": -1}, "--max-connections must be above 0"),
        ({"rate": 0.0}, "--rate must be above 0"),
        ({"rate": float("nan")}, "--rate must be above 0"),
        ({"drain": -1.0}, "--drain must be 0 or more"),
        ({"tls_cert": FILE}, "--tls-cert and --tls-key belong together"),
        ({"tls_key": FILE}, "--tls-cert and --tls-key belong together"),
        ({"client_ca": FILE}, "--client-ca needs TLS"),
        ({"metrics": "9100"}, "--metrics '9100' cannot be used"),
        ({"metrics": "unix:///run/metrics"}, "Prometheus reads no unix socket"),
        ({"listen": "unix:///run/kato", "register": "proxy"}, "Consul lists no unix sockets"),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    """With the option's name."""
    with pytest.raises(ConfigurationError) as raised:
        ServerOptions(**given)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"listen": "[::1]:8000", "prefix": "/kato/"}, "http://[::1]:8000/kato"),
        ({"listen": "localhost:80"}, "http://localhost:80"),
        ({"listen": "unix:///run/kato"}, "unix:///run/kato"),
        ({"listen": "0.0.0.0:80", "insecure": True}, "http://0.0.0.0:80"),
        ({"listen": "0.0.0.0:80", "api_keys": FILE}, "http://0.0.0.0:80"),
        (
            {"listen": "[::]:443", "tls_cert": FILE, "tls_key": FILE, "client_ca": FILE},
            "https://[::]:443",
        ),
    ],
)
def test_accepted(given: dict[str, Any], url: str) -> None:
    """The URL is where the server answers."""
    assert ServerOptions(**given).url == url


@pytest.mark.parametrize(
    ("listen", "kato_url", "is_loop"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("127.0.0.1:8000", "http://localhost:8000/kato", True),
        ("127.0.0.1:8000", "https://[::1]:8000", True),
        ("0.0.0.0:8000", "http://127.0.0.1:8000", True),
        ("10.0.0.1:8000", "http://10.0.0.1:8000", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001", False),
        ("127.0.0.1:8000", "http://kato:8000", False),
        ("10.0.0.1:8000", "http://127.0.0.1:8000", False),
        ("unix:///run/kato", "http://127.0.0.1:8000", False),
    ],
)
def test_own_upstream(listen: str, kato_url: str, is_loop: bool) -> None:
    """KATO_URL must not name the proxy itself."""
    options = ServerOptions(listen=listen, insecure=True)
    settings = Settings(trust_env=False, kato_urls=("http://kato-1:8000", kato_url))
    if not is_loop:
        options.check_settings(settings)
        return
    with pytest.raises(ConfigurationError) as raised:
        options.check_settings(settings)
    assert f"KATO_URL names this proxy itself, {kato_url}" in str(raised.value)


def test_registered_as_its_own_upstream() -> None:
    """The proxy's name in Consul must be another than that of KATO."""
    with pytest.raises(ConfigurationError) as raised:
        ServerOptions(register="kato").check_settings(Settings(trust_env=False))
    assert "--register kato is the service whose instances this proxy uses" in str(raised.value)


def test_workers_without_session_directory() -> None:
    """Each would be another writer of the same session."""
    options = ServerOptions(workers=2)
    options.check_settings(Settings(trust_env=False, session_directory="consul"))
    with pytest.raises(ConfigurationError, match="--workers above 1 needs a session directory"):
        options.check_settings(Settings(trust_env=False))


def test_address_as_text() -> None:
    """As it was written."""
    for text in ("127.0.0.1:8000", "[::1]:8000", "localhost:8000", "unix:///run/kato"):
        assert str(ListenAddress.parse("--listen", text)) == text
