"""Who is measured on threads: ours, its engine alone, and its peers."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import consul
import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from benchmarks.canned import BODY, JSON, STRINGS
from benchmarks.load import Call
from benchmarks.site import SERVICE, Site
from kato_consul import KatoClient, Settings
from kato_consul._flow import Reply, Send
from kato_consul._sync.engine import engine_for

Contender = Callable[[Site], AbstractContextManager[Call]]

OURS = "KatoClient"
OURS_OVER_HTTPX = 'KatoClient, engine="httpx"'
ENGINE = "our engine alone, sync"
HTTPX = "httpx.Client"
SEED = "the seed's way: Consul, then requests.post"
KATOS = "KATO's client's way: one URL, requests, urllib3 Retry"
PATH = "/sessions/bare/observe"


@contextmanager
def ours(site: Site, settings: Settings | None = None) -> Iterator[Call]:
    """The whole client, as people use it: it finds the instances in Consul."""
    with KatoClient(settings or site.settings) as kato:
        session = kato.session("user-1")
        yield lambda: session.observe(STRINGS)


@contextmanager
def ours_over_httpx(site: Site) -> Iterator[Call]:
    """The whole client, over httpx's transports: what it was at first, and still can be."""
    with ours(site, replace(site.settings, engine="httpx")) as call:
        yield call


@contextmanager
def engine(site: Site) -> Iterator[Call]:
    """What the client sends with, and nothing else."""
    made = engine_for(site.settings, None)

    def call() -> object:
        outcome = made.send(Send(site.urls[0], "POST", PATH, 10.0, JSON, BODY))
        assert isinstance(outcome, Reply), outcome
        return outcome

    yield call
    made.close()


@contextmanager
def bare_httpx(site: Site) -> Iterator[Call]:
    """httpx as it comes."""
    with httpx.Client(trust_env=False) as http:

        def call() -> object:
            reply = http.post(site.urls[0] + PATH, content=BODY, headers=JSON)
            reply.raise_for_status()
            return reply.json()

        yield call


@contextmanager
def seed(site: Site) -> Iterator[Call]:
    """Each call asks Consul who is healthy, and posts to the next of them, as the seed did."""
    host, _, port = site.agent.http_addr.rpartition(":")
    asked = consul.Consul(host=host, port=int(port))
    turn = itertools.count()

    def call() -> object:
        _, healthy = asked.health.service(SERVICE, passing=True)
        one = healthy[next(turn) % len(healthy)]["Service"]
        url = f"http://{one['Address']}:{one['Port']}{PATH}"
        reply = requests.post(url, data=BODY, headers=JSON, timeout=10.0)
        reply.raise_for_status()
        return reply.json()

    yield call
    asked.http.session.close()


@contextmanager
def katos(site: Site) -> Iterator[Call]:
    """What KATO's own sample client does. (It repeats a POST whose answer was lost.)"""
    retry = Retry(
        total=3, backoff_factor=0.5, status_forcelist=[502, 503, 504], allowed_methods=["POST"]
    )
    with requests.Session() as http:
        http.mount("http://", HTTPAdapter(max_retries=retry))

        def call() -> object:
            reply = http.post(site.urls[0] + PATH, data=BODY, headers=JSON, timeout=10.0)
            reply.raise_for_status()
            return reply.json()

        yield call


CONTENDERS: dict[str, Contender] = {
    HTTPX: bare_httpx,
    OURS: ours,
    ENGINE: engine,  # next to ours, since one is taken from the other
    OURS_OVER_HTTPX: ours_over_httpx,
    SEED: seed,
    KATOS: katos,
}
