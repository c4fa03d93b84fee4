"""CORS middleware, of the proxy and of the stand-in KATO: allows pages of any origin.

Starlette has such a middleware, but its answers change with its version. These are those of the
real KATO 3.10.1, header by header.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
MAX_AGE = 600  # seconds that a browser may keep the answer to a preflight
CREDENTIALS = {"access-control-allow-credentials": "true"}


class CorsMiddleware:
    """The ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or all(name != b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            await preflight(request)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(response_headers(request))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def preflight(request: Headers) -> PlainTextResponse:
    """Return the answer to a browser that asks whether it may send a request."""
    headers = {
        "vary": "Origin",
        "access-control-allow-methods": ", ".join(METHODS),
        "access-control-max-age": str(MAX_AGE),
        **CREDENTIALS,
        "access-control-allow-origin": request["origin"],
    }
    if "access-control-request-headers" in request:
        headers["access-control-allow-headers"] = request["access-control-request-headers"]
    if request["access-control-request-method"] not in METHODS:
        return PlainTextResponse("Disallowed CORS method", 400, headers)
    return PlainTextResponse("OK", 200, headers)


def response_headers(request: Headers) -> dict[str, str]:
    """Return the headers of the response to a request with an origin."""
    if "cookie" not in request:
        return {"access-control-allow-origin": "*", **CREDENTIALS}
    # Browsers refuse "*" for a request with credentials.
    return {"access-control-allow-origin": request["origin"], **CREDENTIALS, "vary": "Origin"}
