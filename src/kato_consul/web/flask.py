"""Handler of errors for Flask applications."""

import json

from flask import Flask, Response

from kato_consul.errors import KatoConsulError
from kato_consul.web.response import error_response, log_error


def install_error_handler(app: Flask) -> None:
    """Let an application answer a `KatoConsulError` with `kato_consul.web.error_response`.

    The error itself is logged, as ``web.error``.

    Args:
        app: a Flask application.
    """
    app.register_error_handler(KatoConsulError, handle_error)


def handle_error(error: KatoConsulError) -> Response:
    """Return the response for a `KatoConsulError`: an error handler of Flask."""
    response = error_response(error)
    log_error(error, response.status)
    return Response(json.dumps(response.body), response.status, response.headers)
