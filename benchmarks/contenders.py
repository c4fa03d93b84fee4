"""Who is measured on asyncio: ours, its engine alone, and its peers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import httpx

from benchmarks.canned import BODY, JSON, STRINGS
from benchmarks.load import AsyncCall
from benchmarks.site import Site
from kato_consul import AsyncKatoClient, Settings
from kato_consul._async.engine import engine_for
from kato_consul._flow import Reply, Send

Contender = Callable[[Site], AbstractAsyncContextManager[AsyncCall]]

OURS = "AsyncKatoClient"
OURS_OVER_HTTPX = 'AsyncKatoClient, engine="httpx"'
ENGINE = "our engine alone"
HTTPX = "httpx.AsyncClient"
HTTPX_AIOHTTP = "httpx over aiohttp"
AIOHTTP = "aiohttp"
NGINX = "aiohttp through nginx"
NGINX_HASHED = "aiohttp through nginx, hashed by session"


def path(k: int) -> str:
    """Where a bare client observes: a session for each caller, as ours have."""
    return f"/sessions/bare-{k}/observe"


@asynccontextmanager
async def ours(site: Site, settings: Settings | None = None) -> AsyncIterator[AsyncCall]:
    """The whole client, as people use it: it finds the instances in Consul."""
    async with AsyncKatoClient(settings or site.settings) as kato:

        async def call(k: int) -> object:
            return await kato.session(f"user-{k}").observe(STRINGS)

        yield call


@asynccontextmanager
async def ours_over_httpx(site: Site) -> AsyncIterator[AsyncCall]:
    """The whole client, over httpx's transports: what it was at first, and still can be."""
    async with ours(site, replace(site.settings, engine="httpx")) as call:
        yield call


@asynccontextmanager
async def engine(site: Site) -> AsyncIterator[AsyncCall]:
    """What the client sends with, and nothing else."""
    made = engine_for(site.settings, None)
    steps = [Send(url, "POST", "", 10.0, JSON, BODY) for url in site.urls]

    async def call(k: int) -> object:
        step = Send(steps[k % 3].origin, "POST", path(k), 10.0, JSON, BODY)
        outcome = await made.send(step)
        assert isinstance(outcome, Reply), outcome
        return outcome

    yield call
    await made.close()


@asynccontextmanager
async def bare_httpx(site: Site) -> AsyncIterator[AsyncCall]:
    """httpx as it comes."""
    async with httpx.AsyncClient(trust_env=False) as http:
        yield _by_httpx(http, site.urls)


@asynccontextmanager
async def httpx_aiohttp(site: Site) -> AsyncIterator[AsyncCall]:
    """httpx, with aiohttp in its transports' place."""
    import httpx_aiohttp

    transport = httpx_aiohttp.AiohttpTransport()
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        yield _by_httpx(http, site.urls)


@asynccontextmanager
async def aiohttp(site: Site) -> AsyncIterator[AsyncCall]:
    """aiohttp as it comes."""
    async with _by_aiohttp(site.urls) as call:
        yield call


@asynccontextmanager
async def nginx(site: Site) -> AsyncIterator[AsyncCall]:
    """nginx in front, which gives each request to the next."""
    assert site.nginx is not None
    async with _by_aiohttp([site.nginx[0]]) as call:
        yield call


@asynccontextmanager
async def nginx_hashed(site: Site) -> AsyncIterator[AsyncCall]:
    """nginx in front, which keeps each session on one instance."""
    assert site.nginx is not None
    async with _by_aiohttp([site.nginx[1]]) as call:
        yield call


CONTENDERS: dict[str, Contender] = {
    HTTPX: bare_httpx,
    OURS: ours,
    ENGINE: engine,  # next to ours, since one is taken from the other
    OURS_OVER_HTTPX: ours_over_httpx,
    HTTPX_AIOHTTP: httpx_aiohttp,
    AIOHTTP: aiohttp,
    NGINX: nginx,
    NGINX_HASHED: nginx_hashed,
}


def _by_httpx(http: httpx.AsyncClient, urls: list[str]) -> AsyncCall:
    async def call(k: int) -> object:
        reply = await http.post(urls[k % len(urls)] + path(k), content=BODY, headers=JSON)
        reply.raise_for_status()
        return reply.json()

    return call


@asynccontextmanager
async def _by_aiohttp(urls: list[str]) -> AsyncIterator[AsyncCall]:
    from aiohttp import ClientSession

    async with ClientSession() as http:

        async def call(k: int) -> object:
            url = urls[k % len(urls)] + path(k)
            async with http.post(url, data=BODY, headers=JSON) as reply:
                reply.raise_for_status()
                return await reply.json()

        yield call
