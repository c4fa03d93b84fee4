"""The application: the paths of KATO's API, each with its endpoint."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from kato_consul import AsyncKatoClient, Settings
from kato_consul._cors import CorsMiddleware
from kato_consul._logging import logger
from kato_consul.errors import ConsulDenied, KatoConsulError, UnknownService
from kato_consul.proxy.events import PATH, EventHub, EventsEndpoint
from kato_consul.proxy.http import detail_reply, read_head, send_reply
from kato_consul.proxy.passed_on import PATHS, PassingEndpoint
from kato_consul.proxy.readiness import HealthEndpoint, ReadyEndpoint
from kato_consul.proxy.session_calls import CALLS
from kato_consul.proxy.session_endpoints import CreationEndpoint, SessionEndpoint, Sessions

log = logger("proxy")


class UnexpectedErrors:
    """Middleware that answers an unexpected error, and logs it.

    uvicorn closes the connection of an application that raises, without announcing that in the
    response. The next request on it would be lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except HTTPException:
            raise
        except Exception:
            if started or scope["type"] != "http":
                raise
            log.exception("proxy.failed", path=scope["path"])
            await send_reply(send, detail_reply(500, "Internal Server Error"))


def create_app(settings: Settings) -> Starlette:
    """Return the ASGI application that serves KATO's API.

    Its lifespan opens and closes the client.

    Args:
        settings: how to reach Consul, KATO and the session directory. Without a session directory
            each process has sessions of its own, and an id may become invalid when it ends.
    """
    client = AsyncKatoClient(settings)
    sessions = Sessions(client)
    hub = EventHub(client, sessions.open)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            tasks = [
                asyncio.create_task(sessions.open.sweep()),
                asyncio.create_task(_warn_without_service(client)),
            ]
            try:
                yield
            finally:
                await hub.close()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    return Starlette(
        routes=[*_routes(client, sessions), _events(client, hub)],
        middleware=[Middleware(CorsMiddleware), Middleware(UnexpectedErrors)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )


async def _warn_without_service(client: AsyncKatoClient) -> None:
    """Log if Consul has no such service, or the token may not read it: most likely a mistake. Other
    errors are the watch's to log."""
    try:
        await client.discovery.registered_snapshot()
    except (UnknownService, ConsulDenied) as error:
        log.warning("proxy.no_service", why=str(error))
    except KatoConsulError:
        pass


def _routes(client: AsyncKatoClient, sessions: Sessions) -> list[Route]:
    routes = [_route("POST", "/sessions", CreationEndpoint(sessions, "/sessions"))]
    single = [
        _route(method, path, PassingEndpoint(client, sessions.open, path)) for method, path in PATHS
    ]
    for call in CALLS:
        path = "/sessions/{session_id}" + (f"/{call.path}" if call.path else "")
        if not call.path:  # `/sessions/count` must be compared before it
            routes += [route for route in single if route.path.startswith("/sessions/")]
            single = [route for route in single if not route.path.startswith("/sessions/")]
        routes.append(_route(call.method, path, SessionEndpoint(sessions, call, path)))
    routes.append(_route("GET", "/health", HealthEndpoint(client)))
    routes.append(_route("GET", "/ready", ReadyEndpoint(client)))
    return routes + single


def _events(client: AsyncKatoClient, hub: EventHub) -> WebSocketRoute:
    endpoint = EventsEndpoint(client, hub)

    async def serve(websocket: WebSocket) -> None:  # a function: Starlette then passes a WebSocket
        await endpoint(websocket)

    return WebSocketRoute(PATH, serve)


def _route(method: str, path: str, endpoint: Any) -> Route:
    route = Route(path, endpoint, methods=[method])
    assert route.methods is not None
    route.methods.discard("HEAD")  # KATO has none
    return route


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Return a 404 or 405 in KATO's form."""
    assert isinstance(error, HTTPException)
    headers = {**(error.headers or {}), "x-trace-id": read_head(request.scope).trace_id}
    return JSONResponse({"detail": error.detail}, error.status_code, headers)
