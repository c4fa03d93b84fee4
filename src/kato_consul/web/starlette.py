"""Handler of errors for Starlette and FastAPI applications."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kato_consul.errors import KatoConsulError
from kato_consul.web.response import error_response, log_error


def install_error_handler(app: Starlette) -> None:
    """Let an application answer a `KatoConsulError` with `kato_consul.web.error_response`.

    The error itself is logged, as ``web.error``.

    Args:
        app: a Starlette or FastAPI application.
    """
    app.add_exception_handler(KatoConsulError, handle_error)


async def handle_error(_request: Request, error: Exception) -> Response:
    """Return the response for a `KatoConsulError`: an exception handler of Starlette."""
    assert isinstance(error, KatoConsulError)
    response = error_response(error)
    log_error(error, response.status)
    return JSONResponse(response.body, response.status, response.headers)
