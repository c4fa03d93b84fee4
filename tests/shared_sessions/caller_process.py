"""A process of a service: it makes the calls that it reads, and writes what came of them.

Usage: ``python -m tests.shared_sessions.caller_process <settings as JSON> <shell>``, with one call
as JSON on each line of its standard input. When that ends, the client is closed.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

from kato_consul import SessionFacts, Settings
from kato_consul.errors import KatoConsulError
from kato_consul.models import Position
from tests.shared_sessions.clients import Client

_writing = threading.Lock()


def stop_before(client: Client, method: str, end: str) -> None:
    """Let this process stop itself, as by SIGSTOP, just before it sends the next such request: all
    that it checks before a request has been checked then."""
    engine = client.kato.discovery._driver._engine
    send = engine.send

    def stopping(step: Any) -> Any:
        if step.method == method and step.target.endswith(end):
            engine.send = send
            # To this thread: with one to the process, another thread may stop first.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return send(step)

    engine.send = stopping


def answer(client: Client, call: dict[str, Any]) -> None:
    """Make one call, and write its result or its error as a line."""
    result: dict[str, Any] = {"n": call["n"]}
    if "position" in call["kwargs"]:
        call["kwargs"]["position"] = Position(*call["kwargs"]["position"])
    try:
        found = getattr(client.session(call["key"], **call["options"]), call["method"])
        value = found(*call["args"], **call["kwargs"]) if callable(found) else found
        result["result"] = asdict(value) if isinstance(value, Position | SessionFacts) else value
    except KatoConsulError as error:
        result |= {"error": type(error).__name__, "text": str(error), "sent": error.sent}
    with _writing:
        sys.stdout.write(f"{json.dumps(result)}\n")
        sys.stdout.flush()


def main(settings: str, shell: str) -> None:
    """Make calls until the standard input ends."""
    given = json.loads(settings)
    given["kato_urls"] = tuple(given.get("kato_urls", ()))
    with Client(Settings(**given), "async" if shell == "async" else "sync") as client:
        for line in sys.stdin:
            call = json.loads(line)
            if call.get("method") == "exit":
                os._exit(0)
            if "stop_before" in call:
                stop_before(client, *call["stop_before"])
            else:
                threading.Thread(target=answer, args=(client, call), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
