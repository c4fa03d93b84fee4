"""Handler of errors for Starlette and FastAPI applications."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketState

from kato_consul.errors import KatoConsulError
from kato_consul.web.response import error_response, log_error


def install_error_handler(app: Starlette) -> None:
    """Let an application answer a `KatoConsulError` with `kato_consul.web.error_response`.

    The error itself is logged, as ``web.error``.

    Args:
        app: a Starlette or FastAPI application.
    """
    app.add_exception_handler(KatoConsulError, handle_error)


async def handle_error(connection: Request | WebSocket, error: Exception) -> Any:
    """Return the response for a `KatoConsulError`: an exception handler of Starlette.

    A WebSocket that was accepted can have none: it is closed, with 1013 instead of 503, and 1011
    instead of any other status (RFC 6455, 7.4).
    """
    assert isinstance(error, KatoConsulError)
    response = error_response(error)
    log_error(error, response.status)
    if isinstance(connection, WebSocket) and _is_accepted(connection):
        await connection.close(1013 if response.status == 503 else 1011)
        return None
    return JSONResponse(response.body, response.status, response.headers)


def _is_accepted(websocket: WebSocket) -> bool:
    return websocket.application_state is WebSocketState.CONNECTED
