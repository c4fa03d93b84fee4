"""Rates and prefix: which requests reach the application."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from kato_consul.proxy import ApiKey
from kato_consul.proxy.server import rate_limit
from kato_consul.proxy.server.measuring import NoMeter
from kato_consul.proxy.server.middlewares import Prefixed
from kato_consul.proxy.server.rate_limit import TokenBuckets
from tests.proxy.server.serving import Server, serving


class Clock:
    """A clock that the test advances."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (2.5, 2), (1, 1), (0.1, 1)])
def test_bucket(rate: float, burst: int) -> None:
    """It holds the tokens of a second, at least one, and gets one in each interval."""
    clock = Clock()
    buckets = TokenBuckets(rate, clock)
    assert [buckets.take("a") for _ in range(burst)] == [0] * burst
    wait = buckets.take("a")
    assert 0 < wait <= 1 / rate + 1e-6
    clock.now += wait * 0.9
    assert buckets.take("a") > 0
    clock.now += wait * 0.1
    assert buckets.take("a") == 0
    clock.now += 1000
    assert [buckets.take("a") for _ in range(burst)] == [0] * burst
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_forgotten_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those whose buckets are full are forgotten."""
    monkeypatch.setattr(rate_limit, "MAX_CALLERS", 3)
    clock = Clock()
    buckets = TokenBuckets(1, clock)
    for caller in "abc":
        assert buckets.take(caller) == 0
    clock.now += 0.5
    assert buckets.take("d") == 0
    assert buckets.take("a") > 0
    clock.now += 0.6
    for caller in "efg":
        assert buckets.take(caller) == 0
    assert set(buckets._full_at) == {*"defg"}


def test_many_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a request costs does not grow with the number of callers whose buckets are not full."""
    monkeypatch.setattr(rate_limit, "MAX_CALLERS", 8)
    clock = Clock()
    buckets = TokenBuckets(1, clock)
    copies = [buckets._full_at]
    for caller in range(1000):
        assert buckets.take(str(caller)) == 0
        if buckets._full_at is not copies[-1]:
            copies.append(buckets._full_at)
    assert sum(len(one) for one in copies) < 3 * 1000
    clock.now += 2
    for caller in range(1000, 1200):
        assert buckets.take(str(caller)) == 0
    assert len(buckets._full_at) <= 200


def test_rate_of_an_address() -> None:
    """Too many requests get a 429, probes never."""
    with serving(rate=0.01) as server:
        assert server.get("/echo").status == 200
        refused = server.get("/echo")
        assert refused.status == 429
        assert 95 < int(refused.headers["retry-after"]) <= 100
        assert refused.json["detail"].startswith("too many requests: try again in ")
        assert server.get("/ready").status == 200


def test_rate_of_a_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each name has a rate of its own, whatever addresses it calls from."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    shop, billing = ApiKey.create("shop"), ApiKey.create("billing")
    keys.write_text(f"{shop.line}\n{billing.line}\n")
    with serving(rate=0.01, api_keys=keys) as server:
        assert server.get("/echo", x_api_key=shop.key.reveal()).status == 200
        assert server.get("/echo", x_api_key=shop.key.reveal()).status == 429
        assert server.get("/echo", x_api_key=billing.key.reveal()).status == 200
        assert server.get("/echo").status == 401


@pytest.fixture(scope="module")
def below() -> Iterator[Server]:
    """A server below a prefix."""
    with serving(prefix="/kato/v1") as running:
        yield running


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/kato/v1/echo", "/echo"), ("/kato/v1/", "/"), ("/kato/v1/a%2Fb%20c?d", "/a/b c")],
)
def test_below_the_prefix(below: Server, path: str, seen: str) -> None:
    """The application sees the path without the prefix."""
    answer = below.get(path)
    assert (answer.status, answer.json["path"]) == (200, seen)


@pytest.mark.parametrize("path", ["/", "/echo", "/kato/v1", "/kato/v12/echo", "/KATO/v1/echo"])
def test_not_below_the_prefix(below: Server, path: str) -> None:
    """A 404, as KATO answers."""
    answer = below.get(path)
    assert (answer.status, answer.json) == (
        404,
        {"detail": "Not Found: this proxy serves below /kato/v1"},
    )


def test_redirection_has_the_prefix() -> None:
    """A path with a slash at its end is redirected to one that this proxy serves."""

    async def redirects(scope: Scope, receive: Receive, send: Send) -> None:
        location = b"http://host" + scope["raw_path"].rstrip(b"/")
        headers = [(b"location", location), (b"x-other", b"/status")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})

    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "raw_path": b"/kato/v1/status/", "path": "/kato/v1/status/"}
    asyncio.run(Prefixed(redirects, "/kato/v1", NoMeter())(scope, receive, send))
    assert dict(sent[0]["headers"]) == {
        b"location": b"http://host/kato/v1/status",
        b"x-other": b"/status",
    }
