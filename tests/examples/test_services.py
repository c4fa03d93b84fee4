"""The example services under their real servers, while instances and their store fail."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from kato_consul._sync.registrar import Registrar
from kato_consul.testing import Fleet
from tests.examples.services import SERVICES, is_alive, is_ready, running_service
from tests.testing.waiting import eventually


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two instances, registered with an agent."""
    with Fleet(2) as fleet, Registrar(fleet.definitions, fleet.settings):
        yield fleet


@pytest.fixture(scope="module", params=SERVICES)
def service(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Each service, with its workers and the session directory in Consul."""
    with running_service(fleet, request.param) as http:
        yield http


def view(http: httpx.Client, user: str, *products: str) -> None:
    """View products one after the other."""
    for number, product in enumerate(products, start=1):
        response = http.post(f"/visits/{user}", json={"product": product})
        assert response.status_code == 201, response.text
        assert response.json()["events"] == number


def test_users_get_predictions_from_others_visits(service: httpx.Client) -> None:
    """A third user gets the products of the first two; a visit without a product is a 400."""
    users = [f"{name}-{service.base_url.port}" for name in ("ann", "bob", "cleo")]
    for user in users[:2]:
        view(service, user, "tent", "stove", f"rope-{user}")
        assert service.post(f"/visits/{user}/end").json()["pattern"].startswith("PTRN|")
    view(service, users[2], "tent", "stove")
    assert {f"rope-{user}" for user in users[:2]} <= set(
        service.get(f"/visits/{users[2]}/next").json()["next"]
    )
    assert service.post("/visits/nothing-viewed/end").status_code == 400
    view(service, "one-product", "tent")
    assert service.post("/visits/one-product/end").json() == {"pattern": None}


@pytest.mark.parametrize(
    "body", [{"product": 5}, {"product": "a", "rating": "high"}, {}, ["product"], "product"]
)
def test_invalid_input_stays_a_422(service: httpx.Client, body: object) -> None:
    """Whether the framework or the client refuses it."""
    response = service.post("/visits/dan", json=body)
    assert response.status_code == 422
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_no_request_fails_while_an_instance_is_down(
    service: httpx.Client, fleet: Fleet, fault: str
) -> None:
    """Every view is recorded once, in order, by the other instance."""

    def view_twenty_products(user: str) -> None:
        view(service, user, *(f"{user}-{number}" for number in range(20)))

    with ThreadPoolExecutor(4) as pool:
        names = [f"{fault}-{n}-{service.base_url.port}" for n in range(4)]
        visits = [pool.submit(view_twenty_products, name) for name in names]
        getattr(fleet.instances["kato-2"], fault)()
        for visit in visits:
            visit.result(60.0)
    fleet.instances["kato-2"].repair()


def switch_store(state: str) -> Callable[[Fleet, bool], None]:
    """Return what breaks and repairs the store of all instances."""

    def switch(fleet: Fleet, broken: bool) -> None:
        for instance in fleet.instances.values():
            instance.switch(store=state if broken else "up")  # type: ignore[arg-type]

    return switch


def kill_all(fleet: Fleet, broken: bool) -> None:
    """Kill or start all instances."""
    for instance in fleet.instances.values():
        instance.kill() if broken else instance.start()


@pytest.mark.parametrize(
    "fault",
    [switch_store("down"), switch_store("full"), switch_store("hung"), kill_all],
    ids=["store down", "store full", "store hung", "no instance"],
)
def test_service_is_not_ready_while_calls_fail(
    service: httpx.Client, fleet: Fleet, fault: Callable[[Fleet, bool], None]
) -> None:
    """It stays alive. A view is answered within the deadline, and tells nothing internal."""
    assert eventually(lambda: is_ready(service), within=30.0)
    fault(fleet, True)
    try:
        with ThreadPoolExecutor(2) as pool:  # each takes until the deadline
            viewing = pool.submit(service.post, "/visits/eve", json={"product": "tent"})
            assert eventually(lambda: not is_ready(service), within=30.0)
            assert is_alive(service)
            response = viewing.result(30.0)
        assert response.elapsed.total_seconds() < 10.0
        if response.status_code != 201:  # a full store acknowledges what it does not save
            assert response.status_code in (500, 503)
            assert ("retry-after" in response.headers) == (response.status_code == 503)
            assert response.json()["outcome"] in ("not_applied", "unknown")
            assert "127.0.0.1" not in response.text
            assert "kato-1" not in response.text
            assert "kato-2" not in response.text
    finally:
        fault(fleet, False)
    assert eventually(lambda: is_ready(service), within=30.0)
