"""The directory in Redis over TLS: what is accepted, and what errors say."""

import ssl
from collections.abc import Iterator

import pytest

from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing.ports import HOST
from kato_consul.testing.redis import RedisServer
from tests.directory.redis.conftest import NewOwner
from tests.directory.tcp_proxy import TcpProxy
from tests.security.gateway import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def port(server: RedisServer, certificates: Certificates) -> Iterator[int]:
    """The port of a server with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificates.pair("server"))
    with TcpProxy(server.port, context) as proxy:
        yield proxy.port


def why_unavailable(new_owner: NewOwner, url: str, within: float = 1.0) -> str:
    """Return the error of an acquisition."""
    with pytest.raises(SessionDirectoryUnavailable) as caught:
        new_owner(url).acquire("k", within=within)
    return str(caught.value)


def test_own_ca(new_owner: NewOwner, port: int, certificates: Certificates) -> None:
    """A server with a certificate of a CA that the URL names is used."""
    owner = new_owner(f"rediss://{HOST}:{port}/0?ssl_ca_certs={certificates.ca}")
    held, _ = owner.acquire("k")
    owner.release(held)


def test_unknown_ca(new_owner: NewOwner, port: int, certificates: Certificates) -> None:
    """A certificate that is not trusted is told, with the option to set."""
    for options in ("", f"?ssl_ca_certs={certificates.other_ca}"):
        # It is not tried again, but a handshake that takes too long on a busy machine is.
        text = why_unavailable(new_owner, f"rediss://{HOST}:{port}/0{options}", within=60.0)
        assert "no TLS connection" in text
        assert "add ?ssl_ca_certs=/path to the URL" in text


def test_wrong_scheme(new_owner: NewOwner, server: RedisServer, port: int) -> None:
    """The error of a server with TLS, or without, says which scheme to use."""
    assert "use redis:// if it has no TLS" in why_unavailable(
        new_owner, f"rediss://{HOST}:{server.port}/0"
    )
    assert "use rediss:// if it has TLS" in why_unavailable(new_owner, f"redis://{HOST}:{port}/0")
