"""The handlers in applications of Starlette, FastAPI and Flask."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import flask
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.websockets import WebSocket

from kato_consul.errors import BadRequest, KatoConsulError, OutcomeUnknown, StoreUnavailable
from kato_consul.web import flask as for_flask
from kato_consul.web import starlette as for_starlette

ERRORS: dict[str, KatoConsulError] = {
    "/bad": BadRequest("learn", "kato-7", 400, "empty"),
    "/store": StoreUnavailable("observe", "10.1.2.3"),
    "/unknown": OutcomeUnknown("observe", "kato-7", "cut"),
}


def raise_error(path: str) -> None:
    """Raise the error of a path."""
    raise ERRORS[path]


def asgi_get(app: Any) -> Callable[[str], httpx.Response]:
    """Return a function that requests a path of an ASGI application."""

    def get(path: str) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
                return await http.get(path)

        return asyncio.run(request())

    return get


def starlette_app() -> Callable[[str], Any]:
    async def fail(request: Any) -> Any:
        raise_error(request.url.path)

    app = Starlette(routes=[Route(path, fail) for path in ERRORS])
    for_starlette.install_error_handler(app)
    return asgi_get(app)


def fastapi_app() -> Callable[[str], Any]:
    app = FastAPI()
    for path in ERRORS:
        app.get(path)(lambda path=path: raise_error(path))
    for_starlette.install_error_handler(app)
    return asgi_get(app)


def flask_app() -> Callable[[str], Any]:
    app = flask.Flask(__name__)

    @app.get("/<path:rest>")
    def fail(rest: str) -> str:
        raise_error(f"/{rest}")
        return ""

    for_flask.install_error_handler(app)
    return app.test_client().get


APPS = [starlette_app, fastapi_app, flask_app]


@pytest.mark.parametrize("make", APPS)
@pytest.mark.parametrize(
    ("path", "status", "retry_after"),
    [("/bad", 400, None), ("/store", 503, "1"), ("/unknown", 500, None)],
)
def test_error_becomes_its_response(
    make: Callable[[], Callable[[str], Any]],
    path: str,
    status: int,
    retry_after: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Status, header and body are those of `error_response`; the error itself is logged."""
    with caplog.at_level(logging.INFO, "kato_consul.web"):
        response = make()(path)
    assert response.status_code == status
    assert response.headers.get("retry-after") == retry_after
    assert response.headers["content-type"].startswith("application/problem+json")
    body = response.json() if callable(response.json) else response.json
    assert body["title"] == type(ERRORS[path]).__name__
    (record,) = [one for one in caplog.records if one.name == "kato_consul.web"]
    assert record.__dict__["event"] == "web.error"
    assert record.__dict__["fields"]["why"] == str(ERRORS[path])


def test_response_needs_no_framework() -> None:
    """The pure part imports neither, and no client."""
    code = (
        "import sys, kato_consul.web;"
        "print([m for m in ('starlette', 'flask', 'httpx', 'asyncio') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def messages_of_websocket(app: Any, path: str) -> list[Any]:
    """Return what an ASGI application sends to a WebSocket client that only connects."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "websocket", "path": path, "headers": []}
    scope |= {"query_string": b"", "root_path": ""}
    scope["extensions"] = {"websocket.http.response": {}}
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize(("path", "code"), [("/unknown", 1011), ("/store", 1013)])
@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_accepted_websocket_is_closed(kind: Any, path: str, code: int) -> None:
    """It cannot have a response. One that was not accepted gets the response."""

    async def accept_and_fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise_error(path)

    async def fail(websocket: WebSocket) -> None:
        raise_error(path)

    app = kind()
    app.router.add_websocket_route("/accepted", accept_and_fail)
    app.router.add_websocket_route("/refused", fail)
    for_starlette.install_error_handler(app)
    accepted, closed = messages_of_websocket(app, "/accepted")
    assert accepted["type"] == "websocket.accept"
    assert (closed["type"], closed["code"]) == ("websocket.close", code)
    refused = messages_of_websocket(app, "/refused")[0]
    assert refused["type"] == "websocket.http.response.start"
    assert refused["status"] == {1011: 500, 1013: 503}[code]
