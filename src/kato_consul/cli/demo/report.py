"""The demo's report: compares KATO's state with the ledgers of what KATO acknowledged.

KATO is read directly, without this library's client. Every acknowledged observation is looked up:
in the symbol counts of a node, in its patterns, event by event, and in the short-term memory for
what was not learned yet.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from kato_consul.cli.demo.ledger import Ledger


@dataclass(frozen=True)
class DemoReport:
    """Numbers of observations: acknowledged, failed, missing afterwards, and applied twice."""

    observations: int
    failed: int
    lost: int
    applied_twice: int

    @property
    def passed(self) -> bool:
        """True if there were observations, and none failed, was lost or was applied twice."""
        return not (self.failed or self.lost or self.applied_twice) and self.observations > 0


async def verify(ledgers: Iterable[Ledger], failed: int, url: str) -> DemoReport:
    """Compare the ledgers with what the instance at ``url`` returns.

    ``failed`` is the number of failed observations, for the report.

    Raises:
        httpx.HTTPError: the instance cannot be read.
    """
    acknowledged = lost = twice = 0
    async with httpx.AsyncClient(base_url=url, timeout=10.0, trust_env=False) as http:
        for ledger in ledgers:
            acknowledged += len(ledger.unlearned)
            acknowledged += sum(len(sequence) * n for sequence, n in ledger.learned.items())
            for missing, extra in await _compare(http, ledger):
                lost += missing
                twice += extra
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


async def _compare(http: httpx.AsyncClient, ledger: Ledger) -> list[tuple[int, int]]:
    memory = (await _get(http, f"/sessions/{ledger.session.id}/stm"))["stm"]
    found = [differences(ledger.unlearned, _flatten(memory))]
    node = ledger.session.key
    # Symbol counts include sequences whose pattern name was in no response.
    stats = (await _get(http, "/symbols/stats", node_id=node))["symbols"]
    actual = Counter({symbol: entry["frequency"] for symbol, entry in stats.items()})
    expected = Counter[str]()
    for sequence, times in ledger.learned.items():
        expected.update(dict(Counter(list(sequence) * times)))
    found.append(differences(sorted(expected.elements()), sorted(actual.elements())))
    if found[-1] == (0, 0):  # otherwise the same loss would be counted twice
        found += [
            await _compare_pattern(http, ledger, sequence) for sequence in ledger.pattern_names
        ]
    return found


async def _compare_pattern(
    http: httpx.AsyncClient, ledger: Ledger, sequence: Sequence[str]
) -> tuple[int, int]:
    """Compare a pattern's events, their order and its frequency with the ledger."""
    name = ledger.pattern_names[tuple(sequence)]
    answer = await _get(http, f"/pattern/{name}", node_id=ledger.session.key)
    pattern = answer["pattern"].get("pattern") or {}
    times = pattern.get("frequency", 0)
    events = _flatten(pattern.get("pattern_data", []))
    return differences(list(sequence) * ledger.learned[tuple(sequence)], events * times)


async def _get(http: httpx.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    response = await http.get(path, params=query)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


def _flatten(events: list[list[str]]) -> list[str]:
    return [symbol for event in events for symbol in event]
