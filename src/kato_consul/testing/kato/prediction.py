"""Prediction: compares the short-term memory with learned patterns and returns what comes next.

The regions are KATO's: `past` are a learned sequence's events before the first match with the
memory, `present` those from the first match to the last, `future` the rest. The measures have
KATO's names but not its arithmetic: they are simple and give a plausible order.

Two oddities are kept because clients meet them. With a single symbol in memory, only sequences that
begin with it are found, and past, present and future are lists of symbols, not of events. Symbols
that are only similar count as matches, but whether a sequence is found, and its regions, are
determined by equal symbols: so more may match than `present` contains.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Any

from kato_consul.testing.kato.knowledge import Pattern
from kato_consul.testing.kato.memory import Event, average, symbols

Prediction = dict[str, Any]


def predict(
    patterns: Sequence[Pattern],
    stm: Sequence[Event],
    *,
    threshold: float,
    most: int,
    ranking: str = "potential",
    fuzzy: float | None = 0.0,
) -> list[Prediction]:
    """Return the predictions from `stm`, best first.

    Only patterns with a similarity of `threshold` (0 to 1) or more are used. At most `most`
    predictions are returned, ordered by the measure `ranking`. Symbols with a similarity of `fuzzy`
    or more match; 0: only equal ones; None: matching fails, and nothing is found.
    """
    memory = symbols(stm)
    if len(memory) == 1:
        found = [_from_one(p, memory[0]) for p in patterns if p.events[0][:1] == memory]
        return sorted(found, key=lambda p: -p["potential"])[:most]
    if fuzzy is None:
        return []
    known = set(memory)
    similar = [p for p in patterns if not known.isdisjoint(symbols(p.events))]
    matched = [_match(p, stm, memory, fuzzy) for p in similar]
    found = [p for p in matched if p["similarity"] >= threshold]
    _add_measures(found, size=len({symbol for p in patterns for symbol in symbols(p.events)}))
    return sorted(found, key=lambda p: -(p[ranking] or 0.0))[:most]


def futures(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the distinct futures of the predictions, the likeliest first."""
    groups: dict[str, dict[str, Any]] = {}
    for prediction in predictions:
        if prediction["future"]:
            group = groups.setdefault(
                repr(prediction["future"]),
                {
                    "future": prediction["future"],
                    "aggregate_potential": 0.0,
                    "supporting_patterns": 0,
                    "total_weighted_frequency": 0.0,
                },
            )
            group["supporting_patterns"] += 1
            group["total_weighted_frequency"] += prediction["frequency"] * prediction["similarity"]
    total = sum(group["total_weighted_frequency"] for group in groups.values())
    for group in groups.values():
        group["aggregate_potential"] = group["total_weighted_frequency"] / total
    return sorted(groups.values(), key=lambda group: -group["aggregate_potential"])


def _match(pattern: Pattern, stm: Sequence[Event], memory: list[str], fuzzy: float) -> Prediction:
    learned = symbols(pattern.events)
    matcher = SequenceMatcher(None, learned, memory, autojunk=False)
    *blocks, _ = matcher.get_matching_blocks()  # the last one is empty by contract
    equal = [symbol for block in blocks for symbol in learned[block.a : block.a + block.size]]
    anomalies = _similar(memory, learned, fuzzy) if fuzzy else {}
    matches = [s for s in memory if s in anomalies or s in learned] if fuzzy else equal
    past, present, future = _regions(
        pattern.events, blocks[0].a, blocks[-1].a + blocks[-1].size, matches[0]
    )
    expected = symbols(present)
    extras = [[symbol for symbol in event if symbol not in expected] for event in stm]
    surplus = len(memory) - len(matches) if fuzzy else len(symbols(extras))
    return {
        "type": "prototypical",
        "name": pattern.name,
        "frequency": pattern.frequency,
        "emotives": average(pattern.emotives),
        "matches": matches,
        "past": past,
        "present": present,
        "missing": [[symbol for symbol in event if symbol not in matches] for event in present],
        "extras": extras,
        "anomalies": [anomalies[symbol] for symbol in matches if symbol in anomalies],
        "potential": 0.0,
        "evidence": len(matches) / len(learned),
        "similarity": 2 * len(equal) / (len(learned) + len(memory)),
        "fragmentation": float(len(blocks) - 1),
        "snr": (2 * len(matches) - surplus) / (2 * len(matches) + surplus),
        "confluence": 0.0,
        "predictive_information": 0.0,
        "sequence": pattern.events,
        "future": future,
        "confidence": len(matches) / len(expected) if expected else 0.0,
        "weighted_similarity": None,
        "weighted_evidence": None,
        "weighted_confidence": None,
        "weighted_snr": None,
        "itfdf_similarity": _cosine(Counter(expected), Counter(memory)),
    }


def _regions(
    events: list[Event], start: int, stop: int, first_match: str
) -> tuple[list[Event], list[Event], list[Event]]:
    """Return past, present and future of a sequence whose symbols from `start` to `stop` match.

    An event that begins before `start` is in the present only if it contains the first match.
    """
    ends = list(accumulate(map(len, events), initial=0))
    first = bisect_left(ends, start)
    last = max(first, bisect_left(ends, stop))
    if first > 0 and first_match in events[first - 1]:
        first -= 1
    return events[:first], events[first:last], events[last:]


def _similar(memory: Sequence[str], learned: Sequence[str], least: float) -> dict[str, Prediction]:
    """Return the anomaly of each symbol in memory that only resembles a learned one: that one, and
    their similarity, which is `least` or more.
    """
    found = {}
    for symbol in set(memory).difference(learned):
        expected = max(learned, key=lambda one: _resemblance(symbol, one))
        similarity = _resemblance(symbol, expected)
        if similarity >= least:
            found[symbol] = {"observed": symbol, "expected": expected, "similarity": similarity}
    return found


def _resemblance(one: str, other: str) -> float:
    """Return twice the length of the longest common subsequence over both lengths: 0 to 1."""
    row = [0] * (len(other) + 1)
    for letter in one:
        before = 0
        for index, its_letter in enumerate(other):
            longest = before + 1 if letter == its_letter else max(row[index], row[index + 1])
            before, row[index + 1] = row[index + 1], longest
    return 2 * row[-1] / (len(one) + len(other))


def _add_measures(found: list[Prediction], *, size: int) -> None:
    """Add the measures that depend on all predictions. `size`: number of symbols ever learned."""
    total = sum(p["frequency"] for p in found)
    likelihood = sum(p["frequency"] * p["similarity"] for p in found)
    for p in found:
        present = Counter(symbols(p["present"]))
        count = present.total()
        entropy = -sum(n / count * math.log2(n / count) for n in present.values())
        share = p["frequency"] / total
        p |= {
            "entropy": entropy + 0.0,  # never -0.0
            "normalized_entropy": entropy / math.log2(size) if size > 1 else 0.0,
            "global_normalized_entropy": 0.0,
            "tfidf_score": 1 / len(present) if present else 0.0,
            "predictive_information": p["similarity"] if p["future"] else 0.0,
            "pattern_probability": share,
            "weighted_strength": share * p["similarity"],
            "bayesian_prior": share,
            "bayesian_likelihood": p["similarity"],
            "bayesian_posterior": p["frequency"] * p["similarity"] / likelihood,
            "potential": (p["evidence"] + p["confidence"]) * p["snr"]
            + p["itfdf_similarity"]
            + 1 / (p["fragmentation"] + 1),
        }


def _from_one(pattern: Pattern, symbol: str) -> Prediction:
    learned = symbols(pattern.events)
    evidence = 1 / len(learned)
    return {
        "name": pattern.name,
        "pattern_data": pattern.events,
        "length": len(learned),
        "frequency": pattern.frequency,
        "emotives": average(pattern.emotives),
        "matches": [symbol],
        "missing": [],
        "present": [symbol],
        "past": [],
        "future": learned[1:],
        "extras": [],
        "similarity": 2 / (len(learned) + 1),
        "evidence": evidence,
        "confidence": 1.0,
        "snr": 1.0,
        "fragmentation": 0,
        "anomalies": [],
        "weighted_similarity": None,
        "weighted_evidence": None,
        "weighted_confidence": None,
        "weighted_snr": None,
        "potential": evidence + 2.0,
    }


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    product = sum(n * other[symbol] for symbol, n in one.items())
    length = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return product / length if product else 0.0
