"""Sync clients: `KatoClient`, its engine alone, and the alternatives."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import consul
import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from benchmarks.load import Call
from benchmarks.testbed.kato_responses import BODY, JSON, STRINGS
from benchmarks.testbed.processes import SERVICE, Testbed
from kato_consul import KatoClient, Settings
from kato_consul._flow import Reply, Send
from kato_consul._http.endpoint import Endpoints
from kato_consul._sync.engines import engine_for

OpenClient = Callable[[Testbed], AbstractContextManager[Call]]

KATO_CONSUL = "KatoClient"
KATO_CONSUL_OVER_HTTPX = 'KatoClient, engine="httpx"'
ENGINE = "kato-consul's engine alone, sync"
HTTPX = "httpx.Client"
CONSUL_LOOKUP = "a Consul lookup per call, then requests.post"
SAMPLE_CLIENT = "KATO's sample client: one URL, requests, urllib3 Retry"
OBSERVE_PATH = "/sessions/bare/observe"


@contextmanager
def kato_consul(testbed: Testbed, settings: Settings | None = None) -> Iterator[Call]:
    """The whole client, as applications use it, with discovery in Consul."""
    with KatoClient(settings or testbed.settings) as kato:
        session = kato.session("user-1")
        yield lambda: session.observe(STRINGS)


@contextmanager
def kato_consul_over_httpx(testbed: Testbed) -> Iterator[Call]:
    """The whole client over httpx's transports."""
    with kato_consul(testbed, replace(testbed.settings, engine="httpx")) as call:
        yield call


@contextmanager
def engine(testbed: Testbed) -> Iterator[Call]:
    """The default HTTP engine and nothing else."""
    http = engine_for(testbed.settings, Endpoints(testbed.settings))

    def call() -> object:
        outcome = http.send(Send(testbed.urls[0], "POST", OBSERVE_PATH, 10.0, JSON, BODY))
        assert isinstance(outcome, Reply), outcome
        return outcome

    yield call
    http.close()


@contextmanager
def bare_httpx(testbed: Testbed) -> Iterator[Call]:
    """httpx with its defaults."""
    with httpx.Client(trust_env=False) as http:

        def call() -> object:
            response = http.post(testbed.urls[0] + OBSERVE_PATH, content=BODY, headers=JSON)
            response.raise_for_status()
            return response.json()

        yield call


@contextmanager
def consul_lookup(testbed: Testbed) -> Iterator[Call]:
    """Query Consul before each call, then send to the healthy instances in turn."""
    host, _, port = testbed.agent.http_addr.rpartition(":")
    client = consul.Consul(host=host, port=int(port))
    turn = itertools.count()

    def call() -> object:
        _, healthy = client.health.service(SERVICE, passing=True)
        service = healthy[next(turn) % len(healthy)]["Service"]
        url = f"http://{service['Address']}:{service['Port']}{OBSERVE_PATH}"
        response = requests.post(url, data=BODY, headers=JSON, timeout=10.0)
        response.raise_for_status()
        return response.json()

    yield call
    client.http.session.close()


@contextmanager
def sample_client(testbed: Testbed) -> Iterator[Call]:
    """What KATO's own sample client does. (It retries a POST whose response was lost.)"""
    retry = Retry(
        total=3, backoff_factor=0.5, status_forcelist=[502, 503, 504], allowed_methods=["POST"]
    )
    with requests.Session() as http:
        http.mount("http://", HTTPAdapter(max_retries=retry))

        def call() -> object:
            url = testbed.urls[0] + OBSERVE_PATH
            response = http.post(url, data=BODY, headers=JSON, timeout=10.0)
            response.raise_for_status()
            return response.json()

        yield call


CLIENTS: dict[str, OpenClient] = {
    HTTPX: bare_httpx,
    KATO_CONSUL: kato_consul,
    ENGINE: engine,  # measured next to the client, because the two are subtracted
    KATO_CONSUL_OVER_HTTPX: kato_consul_over_httpx,
    CONSUL_LOOKUP: consul_lookup,
    SAMPLE_CLIENT: sample_client,
}
