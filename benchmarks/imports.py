"""What an import takes: CPU of a new interpreter, from its start until the module is there."""

import subprocess
import sys

from benchmarks.figures import Figure, ratios

ONCE = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
TIMES = 3
"""Interpreters a round, of which the quickest counts."""


def took(statement: str) -> float:
    """ms of CPU."""
    argv = [sys.executable, "-c", ONCE.format(statement)]
    found = [subprocess.run(argv, capture_output=True, text=True, check=True) for _ in range(TIMES)]
    return min(float(one.stdout) for one in found) * 1_000


def figures(rounds: int) -> list[Figure]:
    """The goal, and what using it takes."""
    httpx, name, client, sync = [], [], [], []
    for _ in range(rounds):
        httpx.append(took("import httpx"))
        name.append(took("import kato_consul"))
        client.append(took("from kato_consul import AsyncKatoClient"))
        sync.append(took("from kato_consul import KatoClient"))
    return [
        Figure("import kato_consul", "× import httpx", ratios(name, httpx), at_most=1.2),
        Figure("import httpx", "ms of CPU", httpx),
        Figure("import kato_consul", "ms of CPU", name),
        Figure("from kato_consul import AsyncKatoClient", "ms of CPU", client),
        Figure("from kato_consul import KatoClient", "ms of CPU", sync),
    ]
