"""The demo's report: compares KATO's state with the ledgers of what KATO acknowledged.

KATO is read directly, without this library's client. Every acknowledged observation is looked up:
in the symbol counts of its node, in the node's patterns, event by event, and in the short-term
memory for what was not learned yet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from kato_consul.cli.demo.ledger import Ledger


@dataclass(frozen=True)
class DemoReport:
    """Numbers of observations: acknowledged, failed, missing afterwards, and applied twice.

    A sequence whose learn ended without an outcome may have been learned or not.
    """

    observations: int
    failed: int
    lost: int
    applied_twice: int

    @property
    def passed(self) -> bool:
        """True if there were observations, and none failed, was lost or was applied twice."""
        return not (self.failed or self.lost or self.applied_twice) and self.observations > 0


async def verify(ledgers: Sequence[Ledger], failed: int, url: str) -> DemoReport:
    """Compare the ledgers with what the instance at ``url`` returns.

    ``failed`` is the number of failed observations, for the report.

    Raises:
        httpx.HTTPError: the instance cannot be read.
    """
    async with httpx.AsyncClient(base_url=url, timeout=10.0, trust_env=False) as http:
        found = [await _compare_memory(http, ledger) for ledger in ledgers]
        for node in sorted({ledger.node for ledger in ledgers}):
            found += await _compare_node(http, node, [one for one in ledgers if one.node == node])
    acknowledged = sum(
        len(ledger.unlearned) + (ledger.learned_events() + ledger.doubtful_events()).total()
        for ledger in ledgers
    )
    lost, twice = sum(missing for missing, _ in found), sum(extra for _, extra in found)
    return DemoReport(acknowledged, failed, lost, twice)


def differences(expected: Sequence[str], actual: Sequence[str]) -> tuple[int, int]:
    """Return how many events are missing, and how many are there too often.

    An event that is there, but in another position, counts as missing.
    """
    expected_counts, actual_counts = Counter(expected), Counter(actual)
    missing = (expected_counts - actual_counts).total()
    extra = (actual_counts - expected_counts).total()
    if not missing and not extra:
        missing = sum(one != other for one, other in zip(expected, actual, strict=True))
    return missing, extra


async def _compare_memory(http: httpx.AsyncClient, ledger: Ledger) -> tuple[int, int]:
    """Compare a session's short-term memory with its ledger."""
    memory = (await _get(http, f"/sessions/{ledger.session.id}/stm"))["stm"]
    return differences(ledger.unlearned, _flatten(memory))


async def _compare_node(
    http: httpx.AsyncClient, node: str, ledgers: Sequence[Ledger]
) -> list[tuple[int, int]]:
    """Compare what a node learned with the ledgers of all its sessions."""
    # Symbol counts include sequences whose pattern name was in no response.
    stats = (await _get(http, "/symbols/stats", node_id=node))["symbols"]
    actual = Counter({symbol: entry["frequency"] for symbol, entry in stats.items()})
    learned = sum((ledger.learned_events() for ledger in ledgers), Counter[str]())
    doubtful = sum((ledger.doubtful_events() for ledger in ledgers), Counter[str]())
    counts = (learned - actual).total(), (actual - learned - doubtful).total()
    if counts != (0, 0):  # in the patterns, the same loss would be counted again
        return [counts]
    return [
        await _compare_pattern(http, ledger, sequence)
        for ledger in ledgers
        for sequence in ledger.pattern_names
    ]


async def _compare_pattern(
    http: httpx.AsyncClient, ledger: Ledger, sequence: Sequence[str]
) -> tuple[int, int]:
    """Compare a pattern's events, their order and its frequency with the ledger."""
    name = ledger.pattern_names[tuple(sequence)]
    answer = await _get(http, f"/pattern/{name}", node_id=ledger.node)
    pattern = answer["pattern"].get("pattern") or {}
    learned, doubtful = ledger.learned[tuple(sequence)], ledger.doubtful[tuple(sequence)]
    times = pattern.get("frequency", 0)
    if learned <= times <= learned + doubtful:
        learned = times
    events = _flatten(pattern.get("pattern_data", []))
    return differences(list(sequence) * learned, events * times)


async def _get(http: httpx.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    response = await http.get(path, params=query)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


def _flatten(events: list[list[str]]) -> list[str]:
    return [symbol for event in events for symbol in event]
