"""A process of a service: several callers at once use the sessions that all processes share.

It ends in order with SIGTERM. ``python -m tests.histories.caller_process <options as JSON>``
"""

import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from kato_consul import AsyncKatoClient, KatoClient, Settings
from tests.histories.callers import Caller
from tests.histories.calls import Recorder
from tests.histories.retries import Retries

LOOK_EVERY = 0.2
"""Seconds."""


class Options(msgspec.Struct, frozen=True):
    """What the process is to do. ``folder`` is that of the run."""

    name: str
    folder: str
    shell: str
    seed: int
    callers: int
    keys: int
    consul: str
    directory: str
    deadline: float
    attempt_timeout: float

    @property
    def settings(self) -> Settings:
        """The settings of its client."""
        return Settings(
            consul_addr=self.consul,
            session_directory=self.directory,
            deadline=self.deadline,
            attempt_timeout=self.attempt_timeout,
            trust_env=False,
        )

    def new_recorder(self) -> Recorder:
        """Begin its history."""
        return Recorder(Path(self.folder) / "calls" / f"{self.name}.jsonl")

    def new_callers(self) -> list[Caller]:
        """Return its callers."""
        retries = Retries(Path(self.folder) / "retries", self.name)
        return [
            Caller(f"{self.name}-{number}", self.seed, self.keys, retries)
            for number in range(self.callers)
        ]


def run_sync(options: Options) -> None:
    """Run each caller in a thread."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    recorder = options.new_recorder()

    def work(caller: Caller) -> None:
        while not ended.wait(caller.pause()):
            request = caller.next_request()
            session = kato.session(request.key)
            positional, named = request.arguments
            with recorder.call(request, options.deadline, session) as result:
                result["answer"] = getattr(session, request.method)(*positional, **named)
            caller.note(request, result["error"])

    with KatoClient(options.settings) as kato:
        threads = [threading.Thread(target=work, args=[caller]) for caller in options.new_callers()]
        for thread in threads:
            thread.start()
        for thread in threads:
            # Python handles a signal in this thread, which another may have received: so it has to
            # wake up now and then.
            while thread.is_alive():
                thread.join(LOOK_EVERY)


async def run_async(options: Options) -> None:
    """Run each caller in a task."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    recorder = options.new_recorder()

    async def work(kato: AsyncKatoClient, caller: Caller) -> None:
        while not ended.is_set():
            await asyncio.sleep(caller.pause())
            request = caller.next_request()
            session = kato.session(request.key)
            positional, named = request.arguments
            with recorder.call(request, options.deadline, session) as result:
                result["answer"] = await getattr(session, request.method)(*positional, **named)
            caller.note(request, result["error"])

    async with AsyncKatoClient(options.settings) as kato:
        await asyncio.gather(*(work(kato, caller) for caller in options.new_callers()))


def main(arguments: list[str]) -> None:
    """Work until SIGTERM."""
    options: Any = msgspec.json.decode(arguments[0], type=Options)
    if options.shell == "sync":
        run_sync(options)
    else:
        asyncio.run(run_async(options))


if __name__ == "__main__":
    main(sys.argv[1:])
