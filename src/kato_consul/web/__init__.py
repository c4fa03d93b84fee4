"""Errors of calls to KATO as HTTP responses of a web service.

`error_response` is pure: it returns status, headers and a JSON body for an error.
`kato_consul.web.starlette` and `kato_consul.web.flask` install it in an application.
docs/web-services.md has the reasons, docs/errors.md has a row for each error.
"""

from kato_consul.web.response import ErrorResponse, error_response

__all__ = ["ErrorResponse", "error_response"]
