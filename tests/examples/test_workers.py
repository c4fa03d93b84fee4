"""The example services with four workers: any worker serves any request of a user, in one session.

Every request is sent over a new connection, so that any worker may accept it.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from kato_consul import SessionDirectory, SessionEntry, Settings
from kato_consul.testing import Fleet
from kato_consul.testing.history import read_session
from kato_consul.testing.kato.store import Store
from kato_consul.testing.redis import RedisServer
from tests.examples.services import SERVICES, TIMEOUT, is_ready, running_service
from tests.testing.waiting import eventually

MANY = range(6)
FEW = range(3)

REPEATED_FOR = 60.0
"""Seconds for which a user repeats a request that was not served."""


@dataclass(frozen=True)
class Site:
    """A deployment in which services run: instances, and the session directory."""

    fleet: Fleet
    settings: Settings
    directory: str

    def entry(self, user: str) -> SessionEntry:
        """Return what the session directory has of a user's session."""
        with SessionDirectory(self.settings) as directory:
            entry = directory.entry(user, TIMEOUT)
        assert entry is not None
        return entry

    def products(self, user: str) -> list[str]:
        """Return what KATO has in a user's session, read without the library's client."""
        url = self.fleet.instances["kato-1"].url
        final = read_session(url, self.entry(user).id)
        assert final is not None
        return [product for (product,) in final.stm]

    def sessions_with(self, product: str) -> int:
        """Return in how many of all sessions of KATO a product is."""
        with contextlib.closing(Store(self.fleet.folder / "store.sqlite")) as store:
            rows = store.connection.execute("SELECT document FROM sessions").fetchall()
        return sum(f'"{product}"' in document for (document,) in rows)

    def kill_owner(self, user: str) -> str:
        """Kill the worker that owns a user's session; return its name."""
        owner = self.entry(user).last_owner
        os.kill(int(owner.rpartition(":")[2]), signal.SIGKILL)
        return owner


@pytest.fixture(scope="module", params=["consul", "redis"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Two registered instances, and the session directory in Consul or in Redis."""
    with Fleet(2, registered=True) as fleet, contextlib.ExitStack() as opened:
        url = request.param
        if url == "redis":
            url = opened.enter_context(RedisServer()).url
        settings = Settings(
            consul_addr=fleet.agent.http_addr, session_directory=url, trust_env=False
        )
        yield Site(fleet, settings, url)


@pytest.fixture(scope="module", params=SERVICES)
def service(site: Site, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Each service. It is started once for all tests; each of them has users of its own."""
    with running_service(site.fleet, request.param, site.directory) as http:
        assert eventually(lambda: is_ready(http), within=60.0)
        yield http


def post(service: httpx.Client, path: str, key: str, **body: Any) -> httpx.Response:
    """Send a request over a new connection, as a caller does that wants it to be applied once: if
    it gets no answer, or a 503, it repeats it with the same idempotency key."""
    deadline = time.monotonic() + REPEATED_FOR
    while True:
        try:
            response = httpx.post(
                f"{service.base_url}{path}",
                json=body,
                headers={"Idempotency-Key": key},
                trust_env=False,
                timeout=TIMEOUT,
            )
        except httpx.TransportError:  # the worker was killed
            response = None
        if response is not None and response.status_code != 503:
            return response
        assert time.monotonic() < deadline


def view(service: httpx.Client, user: str, product: str) -> int:
    """View a product; return how many the user has viewed by then."""
    response = post(service, f"/visits/{user}", f"view {product}", product=product)
    assert response.status_code == 201, response.text
    events: int = response.json()["events"]
    return events


def users(service: httpx.Client, test: str, numbers: Iterable[int]) -> list[str]:
    """Return the names of users that only this test of this service has."""
    return [f"{test}-{number}-{service.base_url.port}" for number in numbers]


def test_each_user_has_one_session_in_all_workers(site: Site, service: httpx.Client) -> None:
    """All views are in it, once and in order, and several workers have served each user."""
    viewed: dict[str, list[str]] = {user: [] for user in users(service, "shared", MANY)}

    def visit(user: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while len(viewed[user]) < 10 or site.entry(user).epoch < 3:
            assert time.monotonic() < deadline
            product = f"{user}-{len(viewed[user]) + 1}"
            viewed[user].append(product)
            assert view(service, user, product) == len(viewed[user])

    with ThreadPoolExecutor(len(viewed)) as pool:
        list(pool.map(visit, viewed))
    assert {user: site.products(user) for user in viewed} == viewed
    assert {site.sessions_with(products[0]) for products in viewed.values()} == {1}


def test_request_that_is_repeated_is_applied_once(site: Site, service: httpx.Client) -> None:
    """It gets the same answer, whichever worker it reaches; the key is refused for another one."""
    (user,) = users(service, "repeated", [1])
    first = post(service, f"/visits/{user}", "first", product="tent")
    post(service, f"/visits/{user}", "second", product="stove")
    with ThreadPoolExecutor(8) as pool:
        repeated = pool.map(
            lambda _: post(service, f"/visits/{user}", "first", product="tent"), range(24)
        )
        assert {(each.status_code, each.text) for each in repeated} == {(201, first.text)}
    assert site.products(user) == ["tent", "stove"]
    assert post(service, f"/visits/{user}", "first", product="rope").status_code == 422
    learned = post(service, f"/visits/{user}/end", "end").json()["pattern"]
    assert learned.startswith("PTRN|")
    assert post(service, f"/visits/{user}/end", "end").json()["pattern"] == learned
    assert post(service, f"/visits/{user}/end", "x" * 256).status_code == 422


def test_killed_worker_loses_nothing(site: Site, service: httpx.Client) -> None:
    """Other workers take its sessions over, also those that it was just observing in."""
    ended = threading.Event()
    viewed: dict[str, list[str]] = {user: [] for user in users(service, "killed", FEW)}

    def visit(user: str) -> None:
        while not ended.is_set():
            product = f"{user}-{len(viewed[user]) + 1}"
            viewed[user].append(product)
            assert view(service, user, product) == len(viewed[user])

    def has_gone_on(user: str, before: int) -> bool:
        return len(viewed[user]) >= before + 3 or any(each.done() for each in visits)

    with ThreadPoolExecutor(len(viewed)) as pool:
        visits = [pool.submit(visit, user) for user in viewed]
        try:
            for user in list(viewed)[:2]:
                assert eventually(partial(has_gone_on, user, 0), within=TIMEOUT)
                killed, before = site.kill_owner(user), len(viewed[user])
                assert eventually(partial(has_gone_on, user, before), within=REPEATED_FOR)
                assert site.entry(user).last_owner != killed
        finally:
            ended.set()
        for each in visits:
            each.result(REPEATED_FOR)
    assert {user: site.products(user) for user in viewed} == viewed


def test_sessions_are_handed_over_at_the_end_of_a_service(site: Site) -> None:
    """The next service continues them at once, in the same session of KATO's."""
    visitors = [f"continued-{number}" for number in FEW]
    for number, name in enumerate(SERVICES, start=1):
        with running_service(site.fleet, name, site.directory) as http:
            for user in visitors:
                view(http, user, f"{user}-{number}")
            ids = {user: site.entry(user).id for user in visitors}
        entries = {user: site.entry(user) for user in visitors}
        assert [user for user in visitors if not entries[user].released] == []
        assert {user: entries[user].id for user in visitors} == ids
    assert all(site.products(user) == [f"{user}-1", f"{user}-2"] for user in visitors)
    assert {site.sessions_with(f"{user}-1") for user in visitors} == {1}
