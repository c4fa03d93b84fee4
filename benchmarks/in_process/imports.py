"""Start-up time: imports, and the command line's ``--version``, in a new interpreter."""

import subprocess
import sys
import time

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


def run_ms(*arguments: str) -> float:
    """Return ms, by the clock, of a whole run of the interpreter."""
    argv = [sys.executable, *arguments]
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return min(times) * 1_000


def figures(rounds: int) -> list[Figure]:
    """Return the goals for the client and for ``--version``, and the times of the imports."""
    httpx, package, async_client, sync_client, version = [], [], [], [], []
    for _ in range(rounds):
        version.append(run_ms("-m", "kato_consul", "--version") - run_ms("-c", "pass"))
        httpx.append(import_ms("import httpx"))
        package.append(import_ms("import kato_consul"))
        async_client.append(import_ms("from kato_consul import AsyncKatoClient"))
        sync_client.append(import_ms("from kato_consul import KatoClient"))
    return [
        Figure(
            "from kato_consul import AsyncKatoClient",
            "× import httpx",
            ratios(async_client, httpx),
            at_most=1.3,
        ),
        Figure("kato-consul --version", "ms more than python -c pass", version, at_most=150),
        Figure("import httpx", "ms of CPU", httpx),
        Figure("import kato_consul", "ms of CPU", package),
        Figure("from kato_consul import AsyncKatoClient", "ms of CPU", async_client),
        Figure("from kato_consul import KatoClient", "ms of CPU", sync_client),
    ]
