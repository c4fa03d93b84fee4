"""A process that owns a session: ``python -m tests.directory.redis.owner_process URL SERVICE KEY``.

It writes each result as a line to its standard output, and writes the session again and again.
"""

import os
import sys
import time

from kato_consul._directory.directory import LeaseLost
from kato_consul.errors import SessionDirectoryUnavailable
from tests.directory.redis.owners import Owner


def report(result: str) -> None:
    """Write a result to the standard output."""
    sys.stdout.write(f"{result}\n")
    sys.stdout.flush()


def main(url: str, service: str, key: str) -> None:
    """Own the session until the lease is lost."""
    owner = Owner(url, service, label=f"process:{os.getpid()}")
    held, _ = owner.acquire(key)
    report(f"owned {held.entry.epoch}")
    while True:
        try:
            owner.write(held, time=held.entry.time + 1)
        except LeaseLost:
            report("lost")
            break
        except SessionDirectoryUnavailable:
            report("unavailable")
        time.sleep(0.01)
    owner.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
