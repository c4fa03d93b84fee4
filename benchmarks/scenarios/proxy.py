"""The proxy: what it adds to a call, and how many calls it takes, beside nginx that only passes on.

The proxy is `kato-consul proxy`, one process with its defaults; its sessions are shared in Consul.
The instances answer at once, or are the stand-ins: those are served by uvicorn, as KATO is, and
compute next to nothing. The caller is the same for all.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Progress, ratios
from benchmarks.load import drive
from benchmarks.testbed.bare_caller import BareCaller
from benchmarks.testbed.kato_responses import BODY
from benchmarks.testbed.processes import ROOT, Testbed, passing_nginx
from kato_consul.testing import Fleet
from kato_consul.testing.ports import HOST, free_ports
from kato_consul.testing.processes import ChildProcess
from kato_consul.testing.scratch import ScratchFolder

IN_FLIGHT = 32
START_WITHIN = 20.0
NO_NGINX = "no nginx for this machine"


def figures(testbed: Testbed, rounds: int, seconds: float, progress: Progress) -> list[Figure]:
    """Return the goals, and what is beside them."""
    with _proxy(testbed.agent.http_addr) as proxy:
        measured = asyncio.run(_figures(testbed, proxy, rounds, seconds, progress))
    return [*measured, _before_stand_ins(rounds, seconds, progress)]


def _before_stand_ins(rounds: int, seconds: float, progress: Progress) -> Figure:
    """Measure the proxy, and nginx, before stand-in instances."""
    progress("the proxy before stand-in instances")
    name = f"calls through the proxy, {IN_FLIGHT} in flight, of nginx passing on, stand-ins"

    async def rates(url: str) -> list[float]:
        return [await _rate(url, seconds) for _ in range(rounds)]

    with Fleet(3, registered=True) as fleet, _proxy(fleet.agent.http_addr) as proxy:
        ports = [instance.port for instance in fleet.instances.values()]
        with passing_nginx(fleet.folder, ports) as nginx:
            if nginx is None:
                return Figure(name, "×", not_measured=NO_NGINX)
            ours, theirs = asyncio.run(rates(proxy)), asyncio.run(rates(nginx[1]))
    return Figure(name, "×", ratios(ours, theirs), at_least=0.4)


async def _figures(
    testbed: Testbed, proxy: str, rounds: int, seconds: float, progress: Progress
) -> list[Figure]:
    nginx = testbed.nginx_urls[1] if testbed.nginx_urls else None
    added, rates, nginx_added, nginx_rates = [], [], [], []
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}: the proxy")
        direct = await _median_ms(testbed.urls[0], seconds)
        added.append(await _median_ms(proxy, seconds) - direct)
        rates.append(await _rate(proxy, seconds))
        if nginx is not None:
            nginx_added.append(await _median_ms(nginx, seconds) - direct)
            nginx_rates.append(await _rate(nginx, seconds))
    at = f"{IN_FLIGHT} in flight"
    return [
        Figure("added to a call by the proxy, p50", "ms", added, at_most=0.5),
        Figure(f"calls through the proxy, {at}", "calls/s", rates, at_least=3_000),
        Figure(
            f"calls through the proxy, {at}, of nginx passing on",
            "×",
            ratios(rates, nginx_rates) if nginx_rates else [],
            not_measured=NO_NGINX,
        ),
        Figure(
            "added to a call by nginx passing on, p50", "ms", nginx_added, not_measured=NO_NGINX
        ),
        Figure(
            f"calls through nginx passing on, {at}", "calls/s", nginx_rates, not_measured=NO_NGINX
        ),
    ]


async def _median_ms(url: str, seconds: float) -> float:
    """Return the median time of a call with one in flight, in milliseconds."""
    times: list[float] = []

    async def timed(call: Callable[[], Awaitable[object]]) -> None:
        started = time.perf_counter()
        await call()
        times.append((time.perf_counter() - started) * 1e3)

    await _load(url, seconds, 1, timed)
    return sorted(times)[len(times) // 2]


async def _rate(url: str, seconds: float) -> float:
    """Return the calls per second with `IN_FLIGHT` of them at a time."""

    async def plain(call: Callable[[], Awaitable[object]]) -> None:
        await call()

    return await _load(url, seconds, IN_FLIGHT, plain)


async def _load(
    url: str,
    seconds: float,
    in_flight: int,
    observe: Callable[[Callable[[], Awaitable[object]]], Awaitable[None]],
) -> float:
    callers = [await BareCaller.connect(url) for _ in range(in_flight)]
    paths = []
    for number, caller in enumerate(callers):
        opened = await caller.post(
            "/sessions", b'{"node_id": "n%d", "config": {"process_predictions": false}}' % number
        )
        paths.append(f"/sessions/{json.loads(opened)['session_id']}/observe")
    try:
        sample = await drive(
            lambda k: observe(lambda: callers[k].post(paths[k], BODY)), seconds, in_flight
        )
    finally:
        for caller in callers:
            caller.close()
    return sample.rate


@contextmanager
def _proxy(consul: str) -> Iterator[str]:
    """Run a proxy in front of the instances in Consul, and yield its URL."""
    port = free_ports(1)[0]
    argv = [sys.executable, "-m", "kato_consul", "proxy", "--listen", f"{HOST}:{port}"]
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "CONSUL_HTTP_ADDR": consul,
    }
    with ScratchFolder("kato-consul-bench-") as folder:
        log = Path(folder.path) / "proxy.log"
        with ChildProcess(argv, name="kato-consul proxy", log=log, env=env) as child:
            until = time.monotonic() + START_WITHIN
            while "serving" not in child.log_tail():
                if time.monotonic() > until or not child.running:
                    raise RuntimeError(f"the proxy did not start:\n{child.log_tail()}")
                time.sleep(0.02)
            yield f"http://{HOST}:{port}"
