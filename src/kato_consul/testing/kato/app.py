"""FastAPI application of one worker."""

from fastapi import FastAPI

from kato_consul._cors import CorsMiddleware
from kato_consul.testing.kato.middleware import KatoMiddleware
from kato_consul.testing.kato.routes import (
    events,
    health,
    knowledge,
    memory,
    monitoring,
    sessions,
)
from kato_consul.testing.kato.state import VERSION, Options, State


def create_app(options: Options) -> FastAPI:
    """Return the application. Call it in the process that serves it, for it opens the store."""
    state = State.create(options)
    app = FastAPI(title="KATO API", version=VERSION)
    app.state.kato = state
    app.add_middleware(CorsMiddleware)
    # The outer one: added last. So its 404, which answers the preflight of a missing session too,
    # has no CORS headers; nor has an unexpected 500.
    app.add_middleware(KatoMiddleware, state=state)
    for routes in (sessions, memory, monitoring, health, knowledge, events):
        app.include_router(routes.router)
    return app
