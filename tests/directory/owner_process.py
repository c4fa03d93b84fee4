"""A process that acquires sessions and keeps them, until it is killed.

Usage: ``python -m tests.directory.owner_process <Consul's address> <service> <key>…``
"""

import sys
import threading

from tests.directory.clients import DirectoryClient


def main() -> None:
    """Acquire the sessions, print ``owns``, and wait."""
    address, service, *keys = sys.argv[1:]
    with DirectoryClient(address, service) as client:
        owned = [client.acquire(key) for key in keys]
        print("owns", len(owned), flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
