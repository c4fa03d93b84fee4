"""An ASGI application for tests of the server, without KATO."""

import asyncio
import contextlib
import json
import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from kato_consul import ConfigurationError

LIFESPAN_LOG = "TEST_LIFESPAN_LOG"
"""The variable that names the file to which the phases of the lifespan are written."""

STARTS = "TEST_STARTS"
"""The variable that names a folder, whose files say which processes can open the application."""

POLL_INTERVAL = 0.01


def application() -> ASGIApp:
    """Return the application; the workers call this."""
    return _serve


def unstartable() -> ASGIApp:
    """Return an application that cannot be opened."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        raise ConfigurationError("this application cannot be opened")

    return serve


def opened_by_some() -> ASGIApp:
    """Return an application that a process can open which finds a file ``place…`` and removes it.
    One that finds none waits for the file ``go``, and fails."""
    return _serve_some


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


async def _serve_some(scope: Scope, receive: Receive, send: Send) -> None:
    starts = Path(os.environ[STARTS])
    if scope["type"] == "lifespan" and not _take_place(starts):
        await _hold(starts / "go")
        raise ConfigurationError("this application cannot be opened")
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


def _take_place(folder: Path) -> bool:
    for place in folder.glob("place*"):
        with contextlib.suppress(FileNotFoundError):  # another process has taken it
            place.unlink()
            return True
    return False


def _touch(path: Path) -> None:
    path.touch()


def _exists(path: Path) -> bool:
    return path.exists()
