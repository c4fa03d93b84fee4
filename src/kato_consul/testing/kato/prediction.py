"""Prediction: compares the short-term memory with learned patterns and returns what comes next.

The regions are KATO's: `past` are a learned sequence's events before the first match with the
memory, `present` those from the first match to the last, `future` the rest. The measures have
KATO's names but not its arithmetic: they are simple and give a plausible order.

One oddity is kept because clients meet it: with a single symbol in memory, only sequences that
begin with it are found, and past, present and future are lists of symbols, not of events.
"""

import math
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
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
) -> list[Prediction]:
    """Return the predictions from `stm`, best first.

    Only patterns with a similarity of `threshold` (0 to 1) or more are used. At most `most`
    predictions are returned, ordered by the measure `ranking`.
    """
    memory = symbols(stm)
    if len(memory) == 1:
        found = [_from_one(p, memory[0]) for p in patterns if p.events[0][:1] == memory]
        return sorted(found, key=lambda p: -p["potential"])[:most]
    known = set(memory)
    matched = [_match(p, stm, memory) for p in patterns if not known.isdisjoint(symbols(p.events))]
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


def _match(pattern: Pattern, stm: Sequence[Event], memory: list[str]) -> Prediction:
    learned = symbols(pattern.events)
    matcher = SequenceMatcher(None, learned, memory, autojunk=False)
    *blocks, _ = matcher.get_matching_blocks()  # the last one is empty by contract
    matches = [symbol for block in blocks for symbol in learned[block.a : block.a + block.size]]
    first, last = blocks[0].a, blocks[-1].a + blocks[-1].size - 1
    owner = [index for index, event in enumerate(pattern.events) for _ in event]
    past = pattern.events[: owner[first]]
    present = pattern.events[owner[first] : owner[last] + 1]
    future = pattern.events[owner[last] + 1 :]
    expected = symbols(present)
    extras = [[symbol for symbol in event if symbol not in expected] for event in stm]
    surplus = len(symbols(extras))
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
        "anomalies": [],
        "potential": 0.0,
        "evidence": len(matches) / len(learned),
        "similarity": 2 * len(matches) / (len(learned) + len(memory)),
        "fragmentation": float(len(blocks) - 1),
        "snr": (2 * len(matches) - surplus) / (2 * len(matches) + surplus),
        "confluence": 0.0,
        "predictive_information": 0.0,
        "sequence": pattern.events,
        "future": future,
        "confidence": len(matches) / len(expected),
        "weighted_similarity": None,
        "weighted_evidence": None,
        "weighted_confidence": None,
        "weighted_snr": None,
        "itfdf_similarity": _cosine(Counter(expected), Counter(memory)),
    }


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
            "tfidf_score": 1 / len(present),
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
    return product / length
