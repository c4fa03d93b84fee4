"""A process that uses a client and forks, as gunicorn does with ``preload_app``.

``python -m tests.shells.forking_process CASE ENGINE CONSUL`` prints the results of parent and child
as JSON. A case is the name of a function below.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from kato_consul import AsyncKatoClient, ClientClosed, KatoClient, Settings
from tests.shells.sockets import open_sockets


def run_in_child(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call a function in a forked child and return its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = function()
        except BaseException:  # noqa: BLE001  # reported to the parent
            result = {"crashed": traceback.format_exc()}
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        received = json.loads(pipe.read() or '{"crashed": "no output"}')
    os.waitpid(child, 0)
    assert isinstance(received, dict)
    return received


def sync_used(settings: Settings) -> dict[str, Any]:
    """Fork after the client was used, while its watch runs; then use it on both sides."""
    with KatoClient(settings) as kato:
        session = kato.session("forked")
        first = session.observe(["parent"])["time"]
        parent_sockets = open_sockets()

        def child() -> dict[str, Any]:
            try:
                session.observe(["child"])
            except ClientClosed as error:
                refusal = str(error)
            shared = open_sockets() & parent_sockets
            new = kato.session("forked")
            time = new.observe(["child"])["time"]
            watching = any("watch" in thread.name for thread in threading.enumerate())
            ids = (new.id, session.id)
            kato.close()
            return {
                "refusal": refusal,
                "shared_sockets": [*shared],
                "time": time,
                "watching": watching,
                "has_own_session": ids[0] != ids[1],
                "threads_left": len(threading.enumerate()),
            }

        result = run_in_child(child)
        second = session.observe(["parent"])["time"]
        return {**result, "parent": [first, second, session.facts.settlements]}


def sync_busy(settings: Settings) -> dict[str, Any]:
    """Fork while other threads call: in the child, no thread would ever release their locks."""
    stop = threading.Event()
    with KatoClient(settings) as kato:

        def work(number: int) -> None:
            while not stop.is_set():
                kato.observe(f"busy {number}", ["x"])

        def call_once(key: str) -> dict[str, Any]:
            return {"time": kato.observe(key, ["x"])["time"]}

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        children = [run_in_child(partial(call_once, f"busy child {number}")) for number in range(5)]
        stop.set()
        for thread in threads:
            thread.join()
        return {"children": children}


def sync_locked(settings: Settings) -> dict[str, Any]:
    """Fork while another thread has a session's turn; then use that session in the child."""
    with KatoClient(settings) as kato:
        session = kato.session("locked")
        session.observe(["parent"])

        def child() -> dict[str, Any]:
            signal.alarm(60)  # ends a child that waits for the lock
            try:
                session.observe(["child"])
            except ClientClosed as error:
                return {"refusal": str(error)}
            return {"refusal": ""}

        in_progress, ends = threading.Event(), threading.Event()

        def progress(done: int, total: int) -> None:
            in_progress.set()
            ends.wait(60)

        call = threading.Thread(
            target=lambda: session.observe_sequence([["parent"]], progress=progress)
        )
        call.start()
        in_progress.wait(60)
        result = run_in_child(child)
        ends.set()
        call.join()
        return {**result, "time": session.observe(["parent"])["time"]}


def sync_first_call(settings: Settings) -> dict[str, Any]:
    """Fork while another thread makes a client's first call, which starts the watch."""
    started, go_on = threading.Event(), threading.Event()
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        if "watch" in thread.name and os.getpid() == parent:
            started.set()
            go_on.wait(60)
        start(thread)

    parent = os.getpid()
    with KatoClient(settings) as kato:

        def first_call() -> None:
            kato.observe("first", ["parent"])

        def child() -> dict[str, Any]:
            signal.alarm(60)  # ends a child that waits forever
            return {"time": kato.observe("first in child", ["child"])["time"]}

        call = threading.Thread(target=first_call)
        threading.Thread.start = start_late  # type: ignore[assignment]
        start(call)
        started.wait(60)
        result = run_in_child(child)
        go_on.set()
        call.join()
        return {**result, "parent": kato.observe("first", ["parent"])["time"]}


def async_busy(settings: Settings) -> dict[str, Any]:
    """Fork while a task has a session's turn; then use that session on a loop of the child."""

    async def parent() -> dict[str, Any]:
        async with AsyncKatoClient(settings) as kato:
            session = kato.session("busy async")
            in_child: list[dict[str, Any]] = []

            def child() -> dict[str, Any]:
                async def use() -> dict[str, Any]:
                    try:
                        await session.observe(["child"])
                    except ClientClosed as error:
                        return {"refusal": str(error)}
                    return {"refusal": ""}

                signal.alarm(60)  # ends a child that waits forever
                asyncio._set_running_loop(None)
                return asyncio.run(use())

            def progress(done: int, total: int) -> None:
                in_child.append(run_in_child(child))

            await session.observe_sequence([["parent"]], progress=progress)
            return {**in_child[0], "time": (await session.observe(["parent"]))["time"]}

    return asyncio.run(parent())


def async_used(settings: Settings) -> dict[str, Any]:
    """Fork while the client is used on a running event loop; then use it on both sides."""

    async def parent() -> dict[str, Any]:
        async with AsyncKatoClient(settings) as kato:
            session = kato.session("forked async")
            first = (await session.observe(["parent"]))["time"]

            def child() -> dict[str, Any]:
                async def use() -> str:
                    try:
                        await kato.observe("other", ["x"])
                    except ClientClosed as error:
                        refusal = str(error)
                    await kato.aclose()
                    return refusal

                # The child has only this thread, whose event loop runs on in the parent.
                asyncio._set_running_loop(None)
                return {"refusal": asyncio.run(use())}

            result = run_in_child(child)
            second = (await session.observe(["parent"]))["time"]
            return {**result, "parent": [first, second, session.facts.settlements]}

    return asyncio.run(parent())


def async_unused(settings: Settings) -> dict[str, Any]:
    """Create the client before the fork, and use it in the child only."""
    kato = AsyncKatoClient(settings)

    def child() -> dict[str, Any]:
        async def use() -> int:
            async with kato:
                return (await kato.observe("unused", ["x"]))["time"]

        return {"time": asyncio.run(use())}

    return run_in_child(child)


def sync_unused(settings: Settings) -> dict[str, Any]:
    """Create the client before the fork, and use it in the child only."""
    kato = KatoClient(settings)

    def child() -> dict[str, Any]:
        with kato:
            return {"time": kato.observe("unused", ["x"])["time"]}

    return run_in_child(child)


if __name__ == "__main__":
    case, engine, consul = sys.argv[1:]
    settings = Settings(consul_addr=consul, engine=engine, deadline=15.0)
    print(json.dumps(globals()[case](settings)))  # noqa: T201
