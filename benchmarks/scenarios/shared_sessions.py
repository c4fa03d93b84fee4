"""Sessions that several processes share: hand-over, takeover, three processes in turn, idle ones.

The processes, the directory and the (stand-in) instances are real; each process measures its own
calls. A **hand-over** is the first call of a process on a session that another one owns, and has
not used for `IDLE` seconds, less a call that needs none: of the same process, just after it. A
**takeover** is the whole call in which a process continues a session whose owner was killed.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures import Figure, Progress, ratios
from benchmarks.testbed.directories import CONSUL, DIRECTORIES, REDIS, start_directory
from benchmarks.testbed.directories import RunningDirectory as Directory
from benchmarks.testbed.sharing_process import SharingProcess, sharing_processes

HAND_OVERS = 40  # per round
IDLE = 0.03
"""Seconds without a call before a session is handed over, as between two requests of a user."""
EVENTS = 30
IN_TURN = 3.0  # seconds
IDLE_SESSIONS = 1_000
WATCHED = 5.0  # seconds
NOTHING = 0.001
"""Writes per second and session that count as none: one in a quarter of an hour. Consul itself
writes now and then."""
AT_ONCE = 32  # bare writes
WRITING = 2.0  # seconds

GOALS: dict[str, dict[str, float]] = {
    CONSUL: {"hand-over": 15, "takeover": 4, "in turn": 75, "wait": 1},
    REDIS: {"hand-over": 3, "takeover": 3},
}


def figures(rounds: int, progress: Progress) -> list[Figure]:
    """Return the goals and what is beside them, of each directory."""
    measured: list[Figure] = []
    for name in DIRECTORIES:
        with start_directory(name) as directory:
            measured += _of_directory(name, directory, rounds, progress)
    return measured


def _of_directory(name: str, directory: Directory, rounds: int, progress: Progress) -> list[Figure]:
    hand_overs, wholes, bare, takeovers = [], [], [], []
    alone, rates, waits, written = [], [], [], []
    for number in range(rounds):
        progress(f"{name}: sessions shared by three processes, round {number + 1} of {rounds}")
        with sharing_processes(3, directory.consul, directory.setting) as processes:
            for process in processes:  # it registers, and opens its connections
                process.ask("observe", f"warm-up {number}", 3)
            before = directory.writes()
            more, whole = _hand_over_ms(processes[:2], f"handed over {number}")
            written.append((directory.writes() - before) / HAND_OVERS)
            hand_overs.append(more)
            wholes.append(whole)
            bare.append(statistics.median(_ms(directory) for _ in range(HAND_OVERS)))
            alone.append(_in_turn(processes[:1], f"alone {number}")[0])
            rate, wait = _in_turn(processes, f"in turn {number}")
            rates.append(rate)
            waits.append(wait)
            takeovers.append(_takeover_seconds(processes, f"taken over {number}"))
    progress(f"{name}: {IDLE_SESSIONS:,} idle sessions; bare writes")
    goals = GOALS.get(name, {})
    return [
        Figure(f"hand-over, {name}", "ms", hand_overs, at_most=goals.get("hand-over")),
        Figure(
            f"takeover of {EVENTS} events, {name}", "s", takeovers, at_most=goals.get("takeover")
        ),
        Figure(
            f"three processes in turn, {name}", "observes/s", rates, at_least=goals.get("in turn")
        ),
        Figure(f"longest wait of these, {name}", "s", waits, at_most=goals.get("wait")),
        Figure(
            f"{IDLE_SESSIONS:,} idle sessions, {name}",
            "writes/s and session",
            [_idle_writes(directory)],
            at_most=NOTHING,
        ),
        Figure(f"three processes in turn, {name}", "× one of them alone", ratios(rates, alone)),
        Figure(f"hand-over, {name}", "× a bare write", ratios(hand_overs, bare)),
        Figure(f"a bare write, {name}", "ms", bare),
        Figure(f"a call with a hand-over, {name}", "ms", wholes),
        Figure(f"writes of a hand-over, {name}", "writes", written),
        Figure(f"bare writes, {AT_ONCE} at a time, {name}", "writes/s", [_capacity(directory)]),
    ]


def _hand_over_ms(processes: list[SharingProcess], key: str) -> tuple[float, float]:
    """Return the medians of a hand-over, and of the calls that needed one, in ms."""
    first, last = [], []
    for number in range(HAND_OVERS):
        time.sleep(IDLE)
        seconds = processes[number % 2].ask("observe", key, 3)
        first.append(seconds[0] * 1_000)
        last.append(seconds[2] * 1_000)
    return statistics.median(first) - statistics.median(last), statistics.median(first)


def _ms(directory: Directory) -> float:
    started = time.perf_counter()
    directory.write()
    return (time.perf_counter() - started) * 1_000


def _takeover_seconds(processes: list[SharingProcess], key: str) -> float:
    processes[0].ask("observe", key, EVENTS)
    processes[0].kill()
    (seconds,) = processes[1].ask("observe", key, 1)
    return float(seconds)


def _in_turn(processes: list[SharingProcess], key: str) -> tuple[float, float]:
    """Return the observes a second of all together, and the longest that one took."""
    for process in processes:
        process.begin("observe_for", key, IN_TURN)
    took = [process.answer() for process in processes]
    return sum(map(len, took)) / IN_TURN, max(map(max, took))


def _capacity(directory: Directory) -> float:
    """Return the bare writes a second that the directory carries out, with many at a time."""
    until = time.perf_counter() + WRITING

    def write_on() -> int:
        count = 0
        while time.perf_counter() < until:
            directory.write()
            count += 1
        return count

    with ThreadPoolExecutor(AT_ONCE) as pool:
        writers = [pool.submit(write_on) for _ in range(AT_ONCE)]
        return sum(writer.result() for writer in writers) / WRITING


def _idle_writes(directory: Directory) -> float:
    """Return how much more is written for each of many idle sessions: more than for one of them."""
    with sharing_processes(1, directory.consul, directory.setting) as (process,):
        process.ask("own", "idle-", 1)
        alone = _writes_per_second(directory)
        process.ask("own", "idle-", IDLE_SESSIONS)
        return max(0.0, _writes_per_second(directory) - alone) / IDLE_SESSIONS


def _writes_per_second(directory: Directory) -> float:
    time.sleep(1.0)  # what the last calls have left to be done
    before, started = directory.writes(), time.perf_counter()
    time.sleep(WATCHED)
    return (directory.writes() - before) / (time.perf_counter() - started)
