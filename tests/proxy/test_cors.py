"""CORS of the proxy: as the stand-in's, which is compared with the real KATO."""

import pytest

from kato_consul.testing import Fleet
from tests.proxy.served import ServedProxy, call

ORIGIN = {"Origin": "https://shop.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, idempotency-key",
}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("OPTIONS", "/sessions", PREFLIGHT),
        ("OPTIONS", "/sessions", {**PREFLIGHT, "Access-Control-Request-Method": "TRACE"}),
        ("OPTIONS", "/sessions", {}),
        ("GET", "/status", ORIGIN),
        ("GET", "/status", {**ORIGIN, "Cookie": "a=b"}),
        ("GET", "/no-such-path", ORIGIN),
        ("GET", "/status", {}),
    ],
)
def test_as_an_instance(
    proxy: ServedProxy, running_fleet: Fleet, method: str, path: str, headers: dict[str, str]
) -> None:
    """The same status and the same headers."""
    instance = running_fleet.instances["kato-1"].port
    here, there = (call(port, method, path, headers=headers) for port in (instance, proxy.port))
    assert there.status == here.status
    names = [one for one in here.headers if one.startswith("access-control-")] + ["vary"]
    for name in names:
        assert there.headers.get(name) == here.headers.get(name), name


def test_preflight_of_a_session(proxy: ServedProxy) -> None:
    """A page may ask for any session: whether there is one, the request itself tells."""
    session = proxy.open()
    for path in (f"{session}/observe", "/sessions/none/observe"):
        response = proxy.call("OPTIONS", path, headers=PREFLIGHT)
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    response = proxy.call("POST", f"{session}/observe", {"strings": ["a"]}, ORIGIN)
    assert response.headers["access-control-allow-origin"] == "*"
