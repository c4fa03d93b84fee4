"""An ASGI application for tests of the server, without KATO."""

import asyncio
import json
import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from kato_consul import ConfigurationError

LIFESPAN_LOG = "TEST_LIFESPAN_LOG"
"""The variable that names the file to which the phases of the lifespan are written."""

STARTS = "TEST_STARTS"
"""The variable that names the folder in which processes leave files while they start."""

POLL_INTERVAL = 0.01


def application() -> ASGIApp:
    """Return the application; the workers call this."""
    return _serve


def unstartable() -> ASGIApp:
    """Return an application that cannot be opened."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        raise ConfigurationError("this application cannot be opened")

    return serve


def opened_once() -> ASGIApp:
    """Return an application that only the first process can open: each other one waits for the file
    ``go``, and fails."""
    return _serve_once


def crashing() -> ASGIApp:
    """Return an application that ends its process while it is opened."""
    os._exit(3)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        await receive()
    else:
        await _answer(scope, receive, send)


async def _serve_once(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        starts = Path(os.environ[STARTS])
        try:
            _touch(starts / "first", exist_ok=False)
        except FileExistsError:
            await _hold(starts / "go")
            raise ConfigurationError("this application cannot be opened") from None
    await _serve(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if LIFESPAN_LOG in os.environ:
            _append(Path(os.environ[LIFESPAN_LOG]), message["type"])
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what arrived. ``/hold?<file>`` waits until the file exists; ``/crash`` ends the
    process."""
    scope["kato_consul.route"] = scope["path"]
    message = await receive()
    if scope["path"] == "/crash":
        os._exit(3)
    if scope["path"] == "/hold":
        await _hold(Path(scope["query_string"].decode()))
    answer = {
        "path": scope["path"],
        "body": len(message["body"]),
        "whole": not message["more_body"],
        "caller": scope.get("kato_consul.caller"),
        "pid": os.getpid(),
    }
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _append(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


async def _hold(held: Path) -> None:
    _touch(held.with_suffix(".begun"))
    while not _exists(held):  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(POLL_INTERVAL)


def _touch(path: Path, *, exist_ok: bool = True) -> None:
    path.touch(exist_ok=exist_ok)


def _exists(path: Path) -> bool:
    return path.exists()
