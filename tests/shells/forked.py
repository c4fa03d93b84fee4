"""A process that uses a client and forks, as gunicorn does with ``preload_app``.

``python -m tests.shells.forked CASE ENGINE CONSUL`` prints what both sides saw, as JSON.
"""

import asyncio
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from kato_consul import AsyncKatoClient, ClientClosed, KatoClient, Settings
from tests.shells.sockets import sockets


def in_a_child(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a forked child returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = act()
        except BaseException:  # noqa: BLE001  # nobody is above this frame
            told = {"crashed": traceback.format_exc()}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = json.loads(pipe.read() or '{"crashed": "no word"}')
    os.waitpid(child, 0)
    assert isinstance(said, dict)
    return said


def sync_used(settings: Settings) -> dict[str, Any]:
    """A client that was used, and whose watch runs, forks: both sides go on."""
    with KatoClient(settings) as kato:
        session = kato.session("forked")
        first = session.observe(["parent"])["time"]
        own = sockets()

        def child() -> dict[str, Any]:
            try:
                session.observe(["child"])
            except ClientClosed as error:
                refused = str(error)
            shared = sockets() & own
            new = kato.session("forked")
            time = new.observe(["child"])["time"]
            watched = any("watch" in thread.name for thread in threading.enumerate())
            ids = (new.id, session.id)
            kato.close()
            return {
                "refused": refused,
                "shared": [*shared],
                "time": time,
                "watched": watched,
                "other": ids[0] != ids[1],
                "left": len(threading.enumerate()),
            }

        told = in_a_child(child)
        second = session.observe(["parent"])["time"]
        return {**told, "parent": [first, second, session.facts.settlements]}


def sync_busy(settings: Settings) -> dict[str, Any]:
    """A client forks while threads call: the child does not wait for locks nobody holds there."""
    over = threading.Event()
    with KatoClient(settings) as kato:

        def work(number: int) -> None:
            while not over.is_set():
                kato.observe(f"busy {number}", ["x"])

        def once(key: str) -> dict[str, Any]:
            return {"time": kato.observe(key, ["x"])["time"]}

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        children = [in_a_child(partial(once, f"busy child {number}")) for number in range(5)]
        over.set()
        for thread in threads:
            thread.join()
        return {"children": children}


def async_used(settings: Settings) -> dict[str, Any]:
    """A client that a running loop uses forks: the child is refused, the parent goes on."""

    async def parent() -> dict[str, Any]:
        async with AsyncKatoClient(settings) as kato:
            session = kato.session("forked async")
            first = (await session.observe(["parent"]))["time"]

            def child() -> dict[str, Any]:
                async def use() -> str:
                    try:
                        await kato.observe("other", ["x"])
                    except ClientClosed as error:
                        refused = str(error)
                    await kato.aclose()
                    return refused

                # Only the thread is copied: this one's loop runs on in the parent.
                asyncio._set_running_loop(None)
                return {"refused": asyncio.run(use())}

            told = in_a_child(child)
            second = (await session.observe(["parent"]))["time"]
            return {**told, "parent": [first, second, session.facts.settlements]}

    return asyncio.run(parent())


def async_unused(settings: Settings) -> dict[str, Any]:
    """A client that was only made before the fork is the child's, and is refused nowhere."""
    kato = AsyncKatoClient(settings)

    def child() -> dict[str, Any]:
        async def use() -> int:
            async with kato:
                return (await kato.observe("unused", ["x"]))["time"]

        return {"time": asyncio.run(use())}

    return in_a_child(child)


if __name__ == "__main__":
    case, engine, consul = sys.argv[1:]
    settings = Settings(consul_addr=consul, engine=engine, deadline=15.0)
    print(json.dumps(globals()[case](settings)))  # noqa: T201
