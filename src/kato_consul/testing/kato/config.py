"""What a session can be told about learning and predicting: defaults and limits.

Two doors, two manners, as the real one has them. At `POST /sessions` one bad value makes the
whole of `config` be ignored, in silence; at `POST /sessions/{id}/config` it is refused with a
complaint for each bad value. The second door knows fewer limits than the first.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Config = dict[str, Any]

INDEXERS = ("VI", "LSH", "ANNOY", "FAISS")
FILTERS = ("minhash", "length", "jaccard", "bloom", "rapidfuzz")
STM_MODES = ("CLEAR", "ROLLING")
RANKINGS = (
    "potential",
    "similarity",
    "evidence",
    "confidence",
    "snr",
    "fragmentation",
    "frequency",
    "normalized_entropy",
    "global_normalized_entropy",
    "itfdf_similarity",
    "confluence",
    "predictive_information",
    "bayesian_posterior",
    "bayesian_prior",
    "bayesian_likelihood",
    "tfidf_score",
    "weighted_similarity",
    "weighted_evidence",
    "weighted_confidence",
    "weighted_snr",
)

BOOLEAN = "Must be a boolean (true/false)"


class Rule(NamedTuple):
    """One setting: its default (None: not shown until set), and what it may be."""

    default: Any
    allows: Callable[[Any], bool] = lambda value: True
    complaint: str | None = None  # None: `POST .../config` takes anything


def number(low: float, high: float = float("inf")) -> Callable[[Any], bool]:
    """Return a test for a number from `low` to `high`."""
    return lambda value: isinstance(value, int | float) and low <= value <= high


def integer(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    """Return a test for an integer from `low` to `high`."""
    return lambda value: isinstance(value, int) and low <= value <= high


def one_of(values: tuple[str, ...]) -> Callable[[Any], bool]:
    """Return a test for one of `values`."""
    return lambda value: isinstance(value, str) and value in values


def boolean(value: Any) -> bool:
    """Tell whether `value` is true or false and nothing else."""
    return isinstance(value, bool)


def filters(value: Any) -> bool:
    """Tell whether `value` is a list of known filters."""
    return isinstance(value, list) and all(name in FILTERS for name in value)


# In the order in which a session shows them.
RULES: Mapping[str, Rule] = {
    "max_pattern_length": Rule(0, integer(0), "Must be a non-negative integer"),
    "persistence": Rule(5, integer(1, 100), "Must be an integer between 1 and 100"),
    "recall_threshold": Rule(0.1, number(0, 1), "Must be a number between 0.0 and 1.0"),
    "indexer_type": Rule("VI", one_of(INDEXERS), f"Must be one of: {', '.join(INDEXERS)}"),
    "max_predictions": Rule(100, integer(1, 10_000), "Must be an integer between 1 and 10000"),
    "sort_symbols": Rule(True),  # shown, and without effect: strings are always sorted
    "process_predictions": Rule(True, boolean, BOOLEAN),
    "use_token_matching": Rule(True, boolean, BOOLEAN),
    "fuzzy_token_threshold": Rule(None, number(0, 1)),
    "stm_mode": Rule("CLEAR", lambda value: isinstance(value, str), "Must be a string"),
    "rank_sort_algo": Rule("potential", one_of(RANKINGS), f"Must be one of: {', '.join(RANKINGS)}"),
    "affinity_emotive": Rule(None),
    "filter_pipeline": Rule([], filters),
    "length_min_ratio": Rule(0.5, number(0, 1)),
    "length_max_ratio": Rule(2.0, number(1)),
    "jaccard_threshold": Rule(0.3, number(0, 1)),
    "jaccard_min_overlap": Rule(2, integer(1)),
    "minhash_threshold": Rule(0.7, number(0, 1)),
    "minhash_bands": Rule(20, integer(1, 100)),
    "minhash_rows": Rule(5, integer(1, 20)),
    "minhash_num_hashes": Rule(100, integer(10, 256)),
    "bloom_false_positive_rate": Rule(0.01, number(0.0001, 0.1)),
    "max_candidates_per_stage": Rule(100_000, integer(100)),
    "enable_filter_metrics": Rule(True),
}
# The second door still looks at this one, which is no setting any more.
OLD_NAME = ("sort", Rule(None, boolean, BOOLEAN))


def effective(own: Mapping[str, Any]) -> Config:
    """Return all settings as they count: a session's `own` over the defaults."""
    merged = {key: own.get(key) for key in RULES}
    merged = {key: RULES[key].default if value is None else value for key, value in merged.items()}
    return {key: value for key, value in merged.items() if value is not None}


def at_creation(wanted: Mapping[str, Any]) -> Config:
    """Return what a new session takes from `wanted`: all of it, or nothing if any is bad."""
    known = {key: value for key, value in wanted.items() if key in RULES}
    if not all(value is None or RULES[key].allows(value) for key, value in known.items()):
        return {}
    return _normal(known)


def complaints(wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with an update, by setting; empty when nothing is."""
    return {
        key: rule.complaint
        for key, rule in [*RULES.items(), OLD_NAME]
        if key in wanted and rule.complaint is not None and not rule.allows(wanted[key])
    }


def updated(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> Config:
    """Return a session's own settings after an update without complaints."""
    known = {key: value for key, value in wanted.items() if key in RULES}
    if "use_token_matching" in known:
        known.setdefault("sort_symbols", known["use_token_matching"])
    return {**own, **_normal(known)}


def _normal(known: Config) -> Config:
    mode = known.get("stm_mode")
    return known if mode is None or mode in STM_MODES else {**known, "stm_mode": "CLEAR"}
