"""Import time: CPU of a new interpreter from its start until the module is imported."""

import subprocess
import sys

from benchmarks.figures import Figure, ratios

PROGRAM = "import time; start = time.process_time(); {}; print(time.process_time() - start)"
REPEATS = 3
"""Interpreters per round; the fastest counts."""


def import_ms(statement: str) -> float:
    """Return ms of CPU for an import statement."""
    argv = [sys.executable, "-c", PROGRAM.format(statement)]
    runs = [
        subprocess.run(argv, capture_output=True, text=True, check=True) for _ in range(REPEATS)
    ]
    return min(float(run.stdout) for run in runs) * 1_000


def figures(rounds: int) -> list[Figure]:
    """Return the goal for the package, and the ratio and the times of the clients."""
    httpx, package, async_client, sync_client = [], [], [], []
    for _ in range(rounds):
        httpx.append(import_ms("import httpx"))
        package.append(import_ms("import kato_consul"))
        async_client.append(import_ms("from kato_consul import AsyncKatoClient"))
        sync_client.append(import_ms("from kato_consul import KatoClient"))
    return [
        Figure("import kato_consul", "× import httpx", ratios(package, httpx), at_most=1.2),
        Figure(
            "from kato_consul import AsyncKatoClient", "× import httpx", ratios(async_client, httpx)
        ),
        Figure("import httpx", "ms of CPU", httpx),
        Figure("import kato_consul", "ms of CPU", package),
        Figure("from kato_consul import AsyncKatoClient", "ms of CPU", async_client),
        Figure("from kato_consul import KatoClient", "ms of CPU", sync_client),
    ]
