"""FastAPI service with one KATO client for the whole application.

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
    """Open the client on the running event loop, to which it belongs; close it at shutdown."""
    global kato
    async with AsyncKatoClient() as kato:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/visits/{user}/{product}")
async def visit(user: str, product: str) -> dict[str, list[str]]:
    """Record that a user views a product; return what other users viewed next."""
    session = kato.session(user, node_id="shop")
    try:
        await session.observe([product])
        predictions = await session.predictions()
    except KatoConsulError as error:  # its attributes say whether and when to retry
        raise HTTPException(503, str(error)) from error
    return {"next": [item for each in predictions for event in each["future"] for item in event]}


@app.post("/visits/{user}")
async def end_visit(user: str) -> dict[str, str]:
    """Learn the products that a user viewed during this visit."""
    try:
        learned = await kato.session(user, node_id="shop").learn()
    except BadRequest:
        return {"learned": "nothing"}
    except KatoConsulError as error:
        raise HTTPException(503, str(error)) from error
    return {"learned": str(learned["pattern_name"])}
