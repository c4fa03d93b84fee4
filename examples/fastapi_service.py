"""A FastAPI service with KATO behind it: one client for the whole application.

kato-consul dev
CONSUL_HTTP_ADDR=127.0.0.1:PORT uvicorn examples.fastapi_service:app
curl -X POST localhost:8000/visits/ann/product_tent
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from kato_consul import AsyncKatoClient, BadRequest, KatoConsulError

kato: AsyncKatoClient


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """The client belongs to the event loop: it is made when the loop runs, and closed with it."""
    global kato
    async with AsyncKatoClient() as kato:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/visits/{user}/{product}")
async def visit(user: str, product: str) -> dict[str, list[str]]:
    """A user looks at a product; what others looked at next."""
    session = kato.session(user, node_id="shop")
    try:
        await session.observe([product])
        found = await session.predictions()
    except KatoConsulError as error:  # says itself whether, and when, asking again makes sense
        raise HTTPException(503, str(error)) from error
    return {"next": [one for each in found for event in each["future"] for one in event]}


@app.post("/visits/{user}")
async def leave(user: str) -> dict[str, str]:
    """A user leaves: what was looked at is learned."""
    try:
        learned = await kato.session(user, node_id="shop").learn()
    except BadRequest:
        return {"learned": "nothing"}
    except KatoConsulError as error:
        raise HTTPException(503, str(error)) from error
    return {"learned": str(learned["pattern_name"])}
