"""Async clients: `AsyncKatoClient`, its engine alone, and the alternatives."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import httpx

from benchmarks.load import AsyncCall
from benchmarks.testbed.kato_responses import BODY, JSON, STRINGS
from benchmarks.testbed.processes import Testbed
from kato_consul import AsyncKatoClient, Settings
from kato_consul._async.engines import engine_for
from kato_consul._flow import Reply, Send
from kato_consul._http.endpoint import Endpoints

OpenClient = Callable[[Testbed], AbstractAsyncContextManager[AsyncCall]]

KATO_CONSUL = "AsyncKatoClient"
KATO_CONSUL_OVER_HTTPX = 'AsyncKatoClient, engine="httpx"'
ENGINE = "kato-consul's engine alone"
HTTPX = "httpx.AsyncClient"
HTTPX_AIOHTTP = "httpx over aiohttp"
AIOHTTP = "aiohttp"
NGINX = "aiohttp through nginx"
NGINX_HASHED = "aiohttp through nginx, hashed by session"


def observe_path(k: int) -> str:
    """Return the target for worker ``k``: each has its own session, as with kato-consul."""
    return f"/sessions/bare-{k}/observe"


@asynccontextmanager
async def kato_consul(
    testbed: Testbed, settings: Settings | None = None
) -> AsyncIterator[AsyncCall]:
    """The whole client, as applications use it, with discovery in Consul."""
    async with AsyncKatoClient(settings or testbed.settings) as kato:

        async def call(k: int) -> object:
            return await kato.session(f"user-{k}").observe(STRINGS)

        yield call


@asynccontextmanager
async def kato_consul_over_httpx(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """The whole client over httpx's transports."""
    async with kato_consul(testbed, replace(testbed.settings, engine="httpx")) as call:
        yield call


@asynccontextmanager
async def engine(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """The default HTTP engine and nothing else."""
    http = engine_for(testbed.settings, Endpoints(testbed.settings))

    async def call(k: int) -> object:
        step = Send(testbed.urls[k % 3], "POST", observe_path(k), 10.0, JSON, BODY)
        outcome = await http.send(step)
        assert isinstance(outcome, Reply), outcome
        return outcome

    yield call
    await http.close()


@asynccontextmanager
async def bare_httpx(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """httpx with its defaults."""
    async with httpx.AsyncClient(trust_env=False) as http:
        yield _call_with_httpx(http, testbed.urls)


@asynccontextmanager
async def httpx_over_aiohttp(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """httpx with aiohttp as its transport."""
    import httpx_aiohttp

    transport = httpx_aiohttp.AiohttpTransport()
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        yield _call_with_httpx(http, testbed.urls)


@asynccontextmanager
async def bare_aiohttp(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """aiohttp with its defaults."""
    async with _call_with_aiohttp(testbed.urls) as call:
        yield call


@asynccontextmanager
async def nginx_round_robin(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """aiohttp through nginx, which balances round robin."""
    assert testbed.nginx_urls is not None
    async with _call_with_aiohttp([testbed.nginx_urls[0]]) as call:
        yield call


@asynccontextmanager
async def nginx_hashed(testbed: Testbed) -> AsyncIterator[AsyncCall]:
    """aiohttp through nginx, which keeps each session on one instance."""
    assert testbed.nginx_urls is not None
    async with _call_with_aiohttp([testbed.nginx_urls[1]]) as call:
        yield call


CLIENTS: dict[str, OpenClient] = {
    HTTPX: bare_httpx,
    KATO_CONSUL: kato_consul,
    ENGINE: engine,  # measured next to the client, because the two are subtracted
    KATO_CONSUL_OVER_HTTPX: kato_consul_over_httpx,
    HTTPX_AIOHTTP: httpx_over_aiohttp,
    AIOHTTP: bare_aiohttp,
    NGINX: nginx_round_robin,
    NGINX_HASHED: nginx_hashed,
}


def _call_with_httpx(http: httpx.AsyncClient, urls: list[str]) -> AsyncCall:
    async def call(k: int) -> object:
        url = urls[k % len(urls)] + observe_path(k)
        response = await http.post(url, content=BODY, headers=JSON)
        response.raise_for_status()
        return response.json()

    return call


@asynccontextmanager
async def _call_with_aiohttp(urls: list[str]) -> AsyncIterator[AsyncCall]:
    from aiohttp import ClientSession

    async with ClientSession() as http:

        async def call(k: int) -> object:
            url = urls[k % len(urls)] + observe_path(k)
            async with http.post(url, data=BODY, headers=JSON) as response:
                response.raise_for_status()
                return await response.json()

        yield call
