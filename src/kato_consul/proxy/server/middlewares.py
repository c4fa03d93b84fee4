"""The middlewares between connections and the application, in their order.

They are plain ASGI, each does one thing, and those that the options do not ask for are not there.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kato_consul.proxy.server.api_keys import KeyFile, KeysRequired
from kato_consul.proxy.server.measuring import (
    Measured,
    Meter,
    NoMeter,
    PrometheusMeter,
    Rejection,
)
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.rate_limit import RateLimited
from kato_consul.proxy.server.refusals import refuse
from kato_consul.proxy.server.whole_body import WholeBody


@dataclass
class Leaving:
    """Whether the server is about to end."""

    begun: bool = False


def middlewares(app: ASGIApp, options: ServerOptions, leaving: Leaving) -> tuple[ASGIApp, Meter]:
    """Return the application behind the middlewares, and what they count with.

    Raises:
        ConfigurationError: the file of keys cannot be used.
    """
    meter = NoMeter() if options.metrics is None else PrometheusMeter()
    app = WholeBody(app, options.max_body, meter)
    if options.rate is not None:
        app = RateLimited(app, options.rate / options.workers, meter)
    if options.api_keys is not None:
        app = KeysRequired(app, KeyFile(options.api_keys), meter)
    app = Ready(app, leaving)
    if options.prefix:
        app = Prefixed(app, options.prefix, meter)
    if isinstance(meter, PrometheusMeter):
        app = Measured(app, meter)
    return app, meter


class Ready:
    """Answers ``/ready`` with a 503 while the server is about to end."""

    def __init__(self, app: ASGIApp, leaving: Leaving) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._leaving.begun and scope["path"] == "/ready":
            await refuse(scope, send, 503, "the proxy is about to end")
            return
        await self._app(scope, receive, send)


class Prefixed:
    """Serves the paths below a prefix, and no others. The application sees them without it."""

    def __init__(self, app: ASGIApp, prefix: str, meter: Meter) -> None:
        self._app = app
        self._meter = meter
        self._prefix = prefix.encode()
        self._detail = f"Not Found: this proxy serves below {prefix}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        raw_path: bytes = scope["raw_path"]
        if not raw_path.startswith(self._prefix + b"/"):
            self._meter.rejected(Rejection.PREFIX)
            await refuse(scope, send, 404, self._detail)
            return
        scope["raw_path"] = below = raw_path[len(self._prefix) :]
        scope["path"] = unquote(below.decode("ascii"))
        if (
            below.endswith(b"/") and len(below) > 1
        ):  # it may be redirected to the path without the slash
            send = self._redirecting(below.rstrip(b"/"), send)
        await self._app(scope, receive, send)

    def _redirecting(self, target: bytes, send: Send) -> Send:
        async def send_with_prefix(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value.replace(target, self._prefix + target, 1))
                    if name == b"location"
                    else (name, value)
                    for name, value in message["headers"]
                ]
            await send(message)

        return send_with_prefix
