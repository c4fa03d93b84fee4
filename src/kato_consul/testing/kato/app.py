"""The application of one worker."""

from fastapi import FastAPI

from kato_consul.testing.kato.middleware import Gate
from kato_consul.testing.kato.routes import health, knowledge, memory, monitoring, sessions
from kato_consul.testing.kato.state import VERSION, Options, State


def create_app(options: Options) -> FastAPI:
    """Return the application. It opens the store: call it in the process that serves it."""
    state = State.opened(options)
    app = FastAPI(title="KATO", version=VERSION)
    app.state.kato = state
    app.add_middleware(Gate, state=state)
    for routes in (sessions, memory, monitoring, health, knowledge):
        app.include_router(routes.router)
    return app
