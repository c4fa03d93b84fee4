"""FastAPI service that uses KATO, as one would put it into production.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT uvicorn examples.fastapi_service:app --workers 2
    curl localhost:8000/visits/ann --json '{"product": "tent"}'

A SESSION BELONGS TO ONE PROCESS. Each worker has sessions of its own: if the requests of a user
reach several workers, the user has several KATO sessions with a part of the events each, without an
error. So run one worker, or let the proxy in front route each user to the same worker (by a hash of
the user's id). docs/web-services.md has more on workers, errors, deploys and readiness.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

from kato_consul import AsyncKatoClient, AsyncSession, Settings
from kato_consul.web.starlette import install_error_handler

LIMITS = Settings(deadline=5.0, attempt_timeout=2.0)
"""Seconds that a call may take: below the timeout of the proxy in front, so that the service
answers, and not the proxy. An instance that hangs gets 2 s of them, so that another one has the
rest."""

kato: AsyncKatoClient


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Open the client on the running event loop, to which it belongs; close it at shutdown."""
    global kato
    async with AsyncKatoClient(LIMITS) as kato:
        yield


app = FastAPI(lifespan=lifespan)
install_error_handler(app)  # status, Retry-After and body for each error of the client


class View(BaseModel):
    """A product that a user views."""

    product: str
    rating: float | None = None


def session_of(user: str) -> AsyncSession:
    """Return the user's session. All users of the shop share one knowledge base, the node."""
    return kato.session(user, node_id="shop")


@app.post("/visits/{user}", status_code=201)
async def view(user: str, seen: View) -> dict[str, int]:
    """Record that a user views a product.

    It makes one call that changes something, so that a 503 means: nothing was recorded.
    """
    emotives = None if seen.rating is None else {"rating": seen.rating}
    observed = await session_of(user).observe([seen.product], emotives=emotives)
    return {"events": observed["stm_length"]}


@app.get("/visits/{user}/next")
async def predict(user: str) -> dict[str, list[str]]:
    """Return what other users viewed next, most likely first."""
    predictions = await session_of(user).predictions()
    return {"next": [item for each in predictions for event in each["future"] for item in event]}


@app.post("/visits/{user}/end")
async def end_visit(user: str) -> dict[str, str | None]:
    """Learn the products that a user viewed during this visit. Without any it is a 400."""
    learned = await session_of(user).learn()
    return {"pattern": learned["pattern_name"] or None}  # a single product makes no pattern


@app.get("/health")
async def health() -> dict[str, str]:
    """Liveness: this process answers. It does not depend on KATO, which a restart cannot repair."""
    return {"status": "alive"}


@app.get("/ready")
async def ready() -> dict[str, str]:
    """Readiness: 200 only while a call on a session is served, which needs KATO and its store.

    It writes to a session of its own, since a store that is full still answers reads.
    """
    await kato.session("readiness of this process", ttl=60).clear_stm()
    return {"status": "ready"}
