"""FastAPI service that uses KATO, as one would put it into production.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT uvicorn examples.fastapi_service:app --workers 4
    curl localhost:8000/visits/ann -H 'Idempotency-Key: 7f3c' --json '{"product": "tent"}'

The next request of a user may reach any worker, pod or machine: the workers share their sessions
through a session directory, which is in Consul. KATO_CONSUL_SESSION_DIRECTORY=redis://HOST:6379/0
puts it in Redis instead. docs/sessions.md explains it; docs/web-services.md has more on workers,
errors, deploys and readiness.
"""

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header
from pydantic import BaseModel

from kato_consul import AsyncKatoClient, AsyncSession, Settings
from kato_consul.web.starlette import install_error_handler

SETTINGS = Settings(
    deadline=5.0,
    attempt_timeout=2.0,
    session_directory=os.environ.get("KATO_CONSUL_SESSION_DIRECTORY", "consul"),
)
"""A call may take 5 s: less than the timeout of the proxy in front, so that the service answers,
and not the proxy. It is also enough to take over a session from a worker that was killed. An
instance that hangs gets 2 s, so that another one has the rest."""

PROCESS = f"{socket.gethostname()}:{os.getpid()}"

kato: AsyncKatoClient


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Open the client on the running event loop, to which it belongs; close it at shutdown."""
    global kato
    async with AsyncKatoClient(SETTINGS) as kato:
        yield


app = FastAPI(lifespan=lifespan)
install_error_handler(app)  # status, Retry-After and body for each error of the client


IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
"""The header ``Idempotency-Key``: a request that is repeated with the same key changes nothing, and
gets the same answer, from any worker."""


class View(BaseModel):
    """A product that a user views."""

    product: str
    rating: float | None = None


def session_of(user: str) -> AsyncSession:
    """Return the user's session. All users of the shop share one knowledge base, the node."""
    return kato.session(user, node_id="shop")


@app.post("/visits/{user}", status_code=201)
async def view(user: str, seen: View, idempotency_key: IdempotencyKey = None) -> dict[str, int]:
    """Record that a user views a product.

    It makes one call that changes something, so that a 503 means: nothing was recorded.
    """
    emotives = None if seen.rating is None else {"rating": seen.rating}
    observed = await session_of(user).observe(
        [seen.product], emotives=emotives, idempotency_key=idempotency_key
    )
    return {"events": observed["stm_length"]}


@app.get("/visits/{user}/next")
async def predict(user: str) -> dict[str, list[str]]:
    """Return what other users viewed next, most likely first."""
    predictions = await session_of(user).predictions()
    return {"next": [item for each in predictions for event in each["future"] for item in event]}


@app.post("/visits/{user}/end")
async def end_visit(user: str, idempotency_key: IdempotencyKey = None) -> dict[str, str | None]:
    """Learn the products that a user viewed during this visit. Without any it is a 400."""
    learned = await session_of(user).learn(idempotency_key=idempotency_key)
    return {"pattern": learned["pattern_name"] or None}  # a single product makes no pattern


@app.get("/health")
async def health() -> dict[str, str]:
    """Liveness: this process answers. It does not depend on KATO, which a restart cannot repair."""
    return {"status": "alive", "process": PROCESS}


@app.get("/ready")
async def ready() -> dict[str, str]:
    """Readiness: 200 only while a call on a session is served, which needs KATO and its store, and
    the session directory.

    It writes to a session of its own, since a store that is full still answers reads.
    """
    await kato.session(f"readiness of {PROCESS}", node_id="readiness", ttl=60).clear_stm()
    return {"status": "ready"}
