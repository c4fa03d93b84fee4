"""The demo's verdict: KATO is asked itself, past our client, and compared with what it promised.

Every observation that was acknowledged is looked for: in the counts of symbols that a node has
learned, in the patterns, event by event, and in the short-term memory of what was not learned yet.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from kato_consul.cli.demo.ledger import Ledger


@dataclass(frozen=True)
class DemoReport:
    """Counts of observations: acknowledged, failed, missing afterwards, and there too often."""

    observations: int
    failed: int
    lost: int
    applied_twice: int

    @property
    def good(self) -> bool:
        """Nothing failed, nothing was lost, nothing was applied twice."""
        return not (self.failed or self.lost or self.applied_twice) and self.observations > 0


async def verify(told: Iterable[Ledger], failed: int, url: str) -> DemoReport:
    """Read everything back from the instance at ``url``.

    Raises:
        httpx.HTTPError: it cannot be read back, so that there is no verdict.
    """
    acknowledged = lost = twice = 0
    async with httpx.AsyncClient(base_url=url, timeout=10.0, trust_env=False) as http:
        for one in told:
            acknowledged += len(one.open) + sum(len(story) * n for story, n in one.learned.items())
            for missing, extra in await _compare(http, one):
                lost += missing
                twice += extra
    return DemoReport(acknowledged, failed, lost, twice)


def differences(expected: Sequence[str], found: Sequence[str]) -> tuple[int, int]:
    """How many events are missing, and how many are there too often.

    One that is there, but not in its place, is missing where it should be.
    """
    want, have = Counter(expected), Counter(found)
    missing, extra = (want - have).total(), (have - want).total()
    if not missing and not extra:
        missing = sum(one != other for one, other in zip(expected, found, strict=True))
    return missing, extra


async def _compare(http: httpx.AsyncClient, told: Ledger) -> list[tuple[int, int]]:
    memory = (await _get(http, f"/sessions/{told.session.id}/stm"))["stm"]
    found = [differences(told.open, _flat(memory))]
    node = told.session.key
    # What was learned, by the counts of its symbols: also of stories whose name no answer carried.
    stats = (await _get(http, "/symbols/stats", node_id=node))["symbols"]
    learned = Counter({symbol: one["frequency"] for symbol, one in stats.items()})
    wanted = Counter[str]()
    for story, times in told.learned.items():
        wanted.update(dict(Counter(list(story) * times)))
    found.append(differences(sorted(wanted.elements()), sorted(learned.elements())))
    if found[-1] == (0, 0):  # else the same loss would be counted again
        found += [await _read_pattern(http, told, story) for story in told.names]
    return found


async def _read_pattern(
    http: httpx.AsyncClient, told: Ledger, story: Sequence[str]
) -> tuple[int, int]:
    """The counts are right: are the events in their pattern, in their order, as often as told?"""
    answer = await _get(http, f"/pattern/{told.names[tuple(story)]}", node_id=told.session.key)
    pattern = answer["pattern"].get("pattern") or {}
    times = pattern.get("frequency", 0)
    events = _flat(pattern.get("pattern_data", []))
    return differences(list(story) * told.learned[tuple(story)], events * times)


async def _get(http: httpx.AsyncClient, path: str, **query: str) -> dict[str, Any]:
    answer = await http.get(path, params=query)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _flat(events: list[list[str]]) -> list[str]:
    return [symbol for event in events for symbol in event]
