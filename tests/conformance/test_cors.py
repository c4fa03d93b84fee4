"""CORS: which headers a preflight, a response and an error have, in their order."""

import httpx
import pytest

from tests.conformance.conftest import Pool, SessionClient

PAGE = "http://shop.example"
ORIGIN = {"origin": PAGE}
COOKIE = {**ORIGIN, "cookie": "theme=dark"}
ASKS = {**ORIGIN, "access-control-request-method": "POST"}

ANY = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
]
THIS_PAGE = [
    ("access-control-allow-origin", PAGE),
    ("access-control-allow-credentials", "true"),
    ("vary", "Origin"),
]
ALLOWED = [
    ("vary", "Origin"),
    ("access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ("access-control-max-age", "600"),
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-origin", PAGE),
]
HEADERS = [*ALLOWED, ("access-control-allow-headers", "Content-Type, X-Any")]
MISSING = "/sessions/missing"


@pytest.mark.parametrize(
    ("method", "path", "request_headers", "status", "cors"),
    [
        ("GET", "/health", {}, 200, []),
        ("GET", "/health", ORIGIN, 200, ANY),
        ("GET", "/health", COOKIE, 200, THIS_PAGE),
        ("GET", "/health", {"origin": "null"}, 200, ANY),
        ("GET", "/nothing", ORIGIN, 404, ANY),
        ("GET", MISSING, ORIGIN, 404, ANY),  # the endpoint's 404
        ("GET", f"{MISSING}/stm", ORIGIN, 404, []),  # the session check's
        ("DELETE", "/health", ORIGIN, 405, ANY),
        ("POST", "/sessions", ORIGIN, 422, ANY),
        ("POST", "/sessions", COOKIE, 422, THIS_PAGE),
        ("OPTIONS", "/sessions", ORIGIN, 405, ANY),  # no preflight
        ("OPTIONS", "/sessions", ASKS, 200, ALLOWED),
        ("OPTIONS", "/nothing", ASKS, 200, ALLOWED),
        ("OPTIONS", f"{MISSING}/observe", ASKS, 404, []),
        (
            "OPTIONS",
            "/sessions",
            {**ASKS, "access-control-request-headers": "Content-Type, X-Any"},
            200,
            HEADERS,
        ),
        ("OPTIONS", "/sessions", {**ASKS, "access-control-request-method": "QUERY"}, 400, ALLOWED),
    ],
)
def test_cors_headers(
    pool: Pool,
    http: httpx.Client,
    method: str,
    path: str,
    request_headers: dict[str, str],
    status: int,
    cors: list[tuple[str, str]],
) -> None:
    """The response has these CORS headers, and no other."""
    response = http.request(method, pool.urls[0] + path, headers=request_headers)
    assert response.status_code == status
    assert cors_headers(response) == cors


def test_the_preflight_of_a_session(http: httpx.Client, session: SessionClient) -> None:
    """The preflight of a live session is answered after the session check."""
    response = http.options(f"{session.url}/sessions/{session.id}/observe", headers=ASKS)
    assert (response.status_code, response.text) == (200, "OK")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert cors_headers(response) == ALLOWED
    assert list(response.headers)[-2:] == ["x-session-id", "x-trace-id"]


def test_a_refused_preflight(pool: Pool, http: httpx.Client) -> None:
    """The preflight of another method is a 400 in plain text."""
    headers = {**ASKS, "access-control-request-method": "BREW"}
    response = http.options(f"{pool.urls[0]}/sessions", headers=headers)
    assert (response.status_code, response.text) == (400, "Disallowed CORS method")


def cors_headers(response: httpx.Response) -> list[tuple[str, str]]:
    """Return the CORS headers in the order of the response."""
    return [
        (name, value)
        for name, value in response.headers.items()
        if name == "vary" or name.startswith("access-control-")
    ]
