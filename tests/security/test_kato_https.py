"""KATO behind a gateway: https, a path, credentials and trace ids, with both shells and engines."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from kato_consul import (
    AsyncKatoClient,
    ConfigurationError,
    GatewayRefused,
    KatoClient,
    KatoConsulError,
    OutcomeUnknown,
    ServerFailed,
    Settings,
    queries,
    trace_id,
)
from kato_consul.settings import ENGINES
from tests.security.gateway import KEY, PREFIX, Certificates, Gateway, RefusingServer
from tests.shells.wire_server import WireServer
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine."""
    return str(request.param)


class AsyncCalls:
    """An async client on an event loop of its own, used by blocking calls."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self._client: AsyncKatoClient = self._runner.run(self._open(settings))

    def observe(self, key: str, strings: list[str]) -> Any:
        """Observe one event."""
        return self._run(self._client.observe(key, strings))

    def learn(self, key: str) -> Any:
        """Learn the memory."""
        return self._run(self._client.learn(key))

    def get_predictions(self, key: str) -> Any:
        """Return predictions."""
        return self._run(self._client.get_predictions(key))

    def on_all(self, query: Any) -> Any:
        """Run a query on all instances."""
        return self._run(self._client.on_all(query))

    def wait(self) -> None:
        """Let the loop run for a moment."""
        self._run(asyncio.sleep(0.01))

    def close(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    def _run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine, context=copy_context())

    async def _open(self, settings: Settings) -> AsyncKatoClient:
        return await AsyncKatoClient(settings).__aenter__()


Serve = Callable[..., Gateway]
Connect = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A function that starts a gateway with these options; stopped at the end."""
    with ExitStack() as stack:
        yield lambda *args, **given: stack.enter_context(
            Gateway(tmp_path / "store.sqlite", *args, **given)
        )


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, engine: str, serve: Serve) -> Iterator[Connect]:
    """A function that returns a client of each kind with these settings; closed at the end, before
    the gateway."""
    clients: list[Any] = []

    def make(url: str, **given: Any) -> Any:
        options = {"deadline": 20.0, "kato_urls": (url,), "engine": engine, **given}
        settings = Settings(trust_env=False, **options)
        clients.append(KatoClient(settings) if request.param == "sync" else AsyncCalls(settings))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_sessions_behind_a_gateway(
    serve: Serve, connect: Connect, certificates: Certificates, tmp_path: Path
) -> None:
    """Sessions and queries work over https behind a path; each request has the key."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    gateway = serve(certificates)
    kato = connect(
        gateway.url,
        kato_cacert=certificates.ca,
        kato_api_key_file=tmp_path / "key",
        kato_headers={"X-Tenant": "blue"},
    )
    for symbol in ("a", "b"):
        kato.observe("user-1", [symbol])
    assert kato.learn("user-1")["pattern_name"]
    kato.observe("user-1", ["a"])
    assert kato.get_predictions("user-1")
    results = kato.on_all(queries.health())
    assert list(results) == [f"127.0.0.1:{gateway.port}{PREFIX}"]
    assert not isinstance(next(iter(results.values())), KatoConsulError)
    assert {path.startswith(f"{PREFIX}/") for path, _ in gateway.requests} == {True}
    assert {headers["authorization"] for _, headers in gateway.requests} == {f"Bearer {KEY}"}
    assert {headers["x-tenant"] for _, headers in gateway.requests} == {"blue"}
    assert {headers["host"] for _, headers in gateway.requests} == {f"127.0.0.1:{gateway.port}"}


def test_key_in_a_header_of_its_own(
    serve: Serve, connect: Connect, certificates: Certificates, tmp_path: Path
) -> None:
    """The key is sent alone in any other header than Authorization; a client certificate works."""
    gateway = serve(certificates, key_header="x-api-key", client_certificate=True)
    certificate, key = certificates.pair("client")
    kato = connect(
        gateway.url.replace("127.0.0.1", "localhost"),
        kato_cacert=certificates.ca,
        kato_client_cert=certificate,
        kato_client_key=key,
        kato_api_key=KEY,
        kato_api_key_header="X-API-Key",
    )
    assert kato.observe("user-1", ["a"])["time"] == 1
    assert all("authorization" not in headers for _, headers in gateway.requests)


def test_ipv6_address(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """An IPv6 address has brackets in the URL."""
    gateway = serve(key=None, host="::1")
    assert connect(gateway.url).observe("user-1", ["a"])["time"] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "its CA is not trusted: set kato_cacert (KATO_CACERT)"),
        ({"kato_cacert": "other_ca"}, "its CA is not trusted: set kato_cacert (KATO_CACERT)"),
        (
            {"kato_cacert": "ca", "kato_tls_server_name": "kato.example"},
            "for another name: set kato_tls_server_name (KATO_TLS_SERVER_NAME)",
        ),
    ],
)
def test_certificate_that_is_not_accepted(
    serve: Serve,
    connect: Connect,
    certificates: Certificates,
    tmp_path: Path,
    settings: dict[str, str],
    words: str,
) -> None:
    """Nothing is sent, and the error names the problem and the setting."""
    given = {
        name: getattr(certificates, value) if value.endswith("ca") else value
        for name, value in settings.items()
    }
    gateway = serve(certificates)
    with pytest.raises(KatoConsulError) as caught:
        connect(gateway.url, deadline=2.0, **given).observe("user-1", ["a"])
    assert words in str(caught.value)
    assert caught.value.sent is False
    assert gateway.requests == []


@pytest.mark.parametrize(
    "settings",
    [{"kato_verify": False}, {"kato_cacert": True, "kato_tls_server_name": "server.dc1.consul"}],
)
def test_other_ways_to_accept_a_certificate(
    serve: Serve,
    connect: Connect,
    certificates: Certificates,
    tmp_path: Path,
    settings: dict[str, Any],
) -> None:
    """Verification can be switched off, and another name can be expected."""
    if settings.get("kato_cacert"):
        settings = {**settings, "kato_cacert": certificates.ca}
    gateway = serve(certificates, key=None)
    assert connect(gateway.url, **settings).observe("user-1", ["a"])["time"] == 1


def test_missing_client_certificate_is_not_an_unknown_outcome(
    connect: Connect, certificates: Certificates
) -> None:
    """The server refuses the handshake after the request was written: it has read nothing of it."""
    with RefusingServer(certificates) as server:
        kato = connect(server.url, deadline=2.0, kato_cacert=certificates.ca)
        with pytest.raises(KatoConsulError, match="set kato_client_cert and kato_client_key") as at:
            kato.observe("user-1", ["a"])
        # The handshake may end just before a last attempt that the deadline cuts short.
        assert at.value.sent is ("no answer in time" in str(at.value))


def test_missing_client_certificate_at_an_asyncio_server(
    serve: Serve, connect: Connect, certificates: Certificates
) -> None:
    """It closes the connection without an alert. The error names the settings all the same."""
    gateway = serve(certificates, key=None, client_certificate=True)
    kato = connect(gateway.url, deadline=2.0, kato_cacert=certificates.ca)
    with pytest.raises(KatoConsulError, match="set kato_client_cert and kato_client_key"):
        kato.observe("user-1", ["a"])
    assert gateway.requests == []


def test_handshake_that_does_not_end_leaves_no_connection(connect: Connect) -> None:
    """A server that accepts connections and is silent: each is closed when its attempt is over."""

    def silent(server: WireServer, connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    with WireServer(silent) as server:
        url = server.origin.replace("http:", "https:")
        kato = connect(url, deadline=0.4, kato_verify=False)  # it stays open
        with pytest.raises(KatoConsulError):
            kato.observe("user-1", ["a"])
        assert server.connections
        assert eventually(lambda: kato_is_idle(kato) and server.closed == server.connections)


def kato_is_idle(kato: Any) -> bool:
    """Let the event loop of an async client run for a moment: it closes sockets. Return True."""
    if isinstance(kato, AsyncCalls):
        kato.wait()
    return True


def test_wrong_scheme(
    serve: Serve, connect: Connect, certificates: Certificates, tmp_path: Path
) -> None:
    """https to a port that speaks HTTP is named."""
    gateway = serve(key=None)
    url = gateway.url.replace("http:", "https:")
    with pytest.raises(KatoConsulError, match="does not answer with TLS: is its scheme http"):
        connect(url, deadline=2.0).observe("user-1", ["a"])


ANSWERS: list[tuple[Callable[[Headers], Response], type[KatoConsulError], str]] = [
    (
        lambda headers: PlainTextResponse(f"bad key {headers.get('authorization')}", 401),
        GatewayRefused,
        "401 a gateway in front of KATO asks for credentials.*KATO_API_KEY_FILE",
    ),
    (lambda _: PlainTextResponse("no", 403), GatewayRefused, "403 .* lacks the permission"),
    (lambda _: PlainTextResponse("no", 407), GatewayRefused, "407 a proxy asks"),
    (
        lambda _: RedirectResponse("https://kato.example/?key=x", 301),
        GatewayRefused,
        "redirects to https://kato.example/: KATO is reached over https. Set scheme=https",
    ),
    (
        lambda _: RedirectResponse("/login", 302),
        GatewayRefused,
        "redirects to /login, which is not followed: something else than KATO answers",
    ),
    (
        lambda _: HTMLResponse("<!DOCTYPE html><html>hello</html>"),
        ServerFailed,
        "This is a web page: something else than KATO answers",
    ),
    (
        lambda _: HTMLResponse("<html>The plain HTTP request was sent to HTTPS port</html>", 400),
        ServerFailed,
        "KATO is reached over https: set scheme=https",
    ),
]


@pytest.mark.parametrize("number", range(len(ANSWERS)))
def test_answer_of_a_gateway_is_explained(
    serve: Serve, connect: Connect, tmp_path: Path, number: int
) -> None:
    """One request, and an error that says what answers and which setting changes it."""
    answer, kind, words = ANSWERS[number]
    gateway = serve()
    gateway.instead = answer
    with pytest.raises(kind, match=words) as caught:
        connect(gateway.url, kato_api_key=KEY).observe("user-1", ["a"])
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)
    assert len(gateway.requests) == 1


def test_key_that_expires_in_a_session(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A write without valid credentials was not applied, and goes on with a new key in the file."""
    (tmp_path / "key").write_text(KEY)
    gateway = serve()
    kato = connect(gateway.url, kato_api_key_file=tmp_path / "key")
    assert kato.observe("user-1", ["a"])["time"] == 1
    gateway.key = "another-key"
    sent = len(gateway.requests)
    with pytest.raises(GatewayRefused, match="401") as caught:
        kato.observe("user-1", ["b"])
    assert caught.value.safe_to_resend
    assert len(gateway.requests) == sent + 1
    (tmp_path / "new").write_text("another-key\n")
    (tmp_path / "new").replace(tmp_path / "key")
    assert kato.observe("user-1", ["b"])["time"] == 2


def test_forbidden_write_is_settled(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """What returns a 403 may have forwarded the write: it is read back, and if that fails too, the
    outcome is unknown until the next call."""
    gateway = serve(key=None)
    kato = connect(gateway.url)
    kato.observe("user-1", ["a"])
    gateway.instead = lambda _: PlainTextResponse("blocked", 403)
    with pytest.raises(OutcomeUnknown, match="lacks the permission"):
        kato.observe("user-1", ["b"])
    gateway.instead = None
    assert kato.observe("user-1", ["c"])["time"] == 2


def test_secrets_are_in_no_log(
    serve: Serve, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No log, error or repr has the key or the value of a header, although the gateway repeats
    them."""
    caplog.set_level(logging.DEBUG)
    gateway = serve(key="another")
    settings = Settings(
        trust_env=False,
        kato_urls=(gateway.url,),
        kato_api_key=KEY,
        kato_headers={"X-Also": "pa55word"},
    )
    kato = connect(gateway.url, kato_api_key=KEY, kato_headers={"X-Also": "pa55word"})
    with pytest.raises(GatewayRefused) as caught:
        kato.observe("user-1", ["a"])
    assert "invalid key: Bearer ***" in str(caught.value)
    shown = [repr(settings), repr(caught.value), str(vars(caught.value)), repr(vars(kato))]
    shown += [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    assert not any(secret in text for text in shown for secret in (KEY, "pa55word"))


def test_trace_id_of_a_call(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """All requests of calls in the block have the trace id, also those that settle a write; others
    have none. Errors show it."""
    gateway = serve(key=None)
    kato = connect(gateway.url, hedge=True)
    kato.observe("user-1", ["a"])
    before = len(gateway.requests)
    gateway.instead = lambda _: PlainTextResponse("blocked", 403)
    with trace_id("call-7"), pytest.raises(OutcomeUnknown) as caught:
        kato.observe("user-1", ["b"])
    gateway.instead = None
    with trace_id("call-8"):
        kato.observe("user-1", ["c"])
        kato.on_all(queries.health())
    after = len(gateway.requests)
    kato.observe("user-1", ["d"])
    traces = [headers.get("x-trace-id") for _, headers in gateway.requests]
    assert set(traces[:before]) == {None}
    assert set(traces[before:after]) == {"call-7", "call-8"}
    assert traces[before:after].count("call-7") > 1
    assert set(traces[after:]) == {None}
    assert caught.value.trace_id == "call-7"
    assert str(caught.value).endswith("(trace id call-7)")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kato_cacert": Path("gone.pem")}, r"kato_cacert \(KATO_CACERT\)"),
        ({"kato_capath": Path("gone")}, r"kato_capath \(KATO_CAPATH\)"),
        (
            {"kato_client_cert": Path("gone.pem"), "kato_client_key": Path("gone.pem")},
            r"kato_client_cert and kato_client_key \(KATO_CLIENT_CERT, KATO_CLIENT_KEY\)",
        ),
    ],
)
def test_tls_file_that_cannot_be_used_is_told_at_once(given: dict[str, Any], words: str) -> None:
    """When a client is created, although no instance may be reached over https."""
    with pytest.raises(ConfigurationError, match=f"the TLS files for KATO cannot be used: {words}"):
        KatoClient(Settings(trust_env=False, **given))
