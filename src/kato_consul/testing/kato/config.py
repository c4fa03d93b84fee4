"""Session settings for learning and prediction: defaults and validation.

As in the real KATO, two endpoints validate differently. With one invalid value,
`POST /sessions` silently ignores all of `config`. `POST /sessions/{id}/config` refuses it, with an
error message for each invalid value, but checks fewer limits.
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
    """One setting: its default (None: not returned until set), and its validation."""

    default: Any
    allows: Callable[[Any], bool] = lambda value: True
    error: str | None = None  # None: `POST .../config` accepts any value


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
    """Return whether `value` is a boolean."""
    return isinstance(value, bool)


def filters(value: Any) -> bool:
    """Return whether `value` is a list of known filters."""
    return isinstance(value, list) and all(name in FILTERS for name in value)


# In the order of a session's JSON.
RULES: Mapping[str, Rule] = {
    "max_pattern_length": Rule(0, integer(0), "Must be a non-negative integer"),
    "persistence": Rule(5, integer(1, 100), "Must be an integer between 1 and 100"),
    "recall_threshold": Rule(0.1, number(0, 1), "Must be a number between 0.0 and 1.0"),
    "indexer_type": Rule("VI", one_of(INDEXERS), f"Must be one of: {', '.join(INDEXERS)}"),
    "max_predictions": Rule(100, integer(1, 10_000), "Must be an integer between 1 and 10000"),
    "sort_symbols": Rule(True),  # returned, but without effect: strings are always sorted
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
# `POST .../config` still validates this name, which is no longer a setting.
OLD_RULE = ("sort", Rule(None, boolean, BOOLEAN))


def effective(own: Mapping[str, Any]) -> Config:
    """Return the effective settings: a session's `own` ones over the defaults."""
    merged = {key: own.get(key) for key in RULES}
    merged = {key: RULES[key].default if value is None else value for key, value in merged.items()}
    return {key: value for key, value in merged.items() if value is not None}


def fuzzy_threshold(settings: Mapping[str, Any]) -> float | None:
    """Return the similarity from which two symbols match; 0: only equal ones do. None if matching
    fails with the value: `POST .../config` accepts any.
    """
    value = settings.get("fuzzy_token_threshold", 0)
    if not isinstance(value, int | float) or value > 1:
        return None
    return max(0.0, value)


def at_creation(requested: Mapping[str, Any]) -> Config:
    """Return the settings of a new session: all `requested` ones, or none if any is invalid."""
    known = {key: value for key, value in requested.items() if key in RULES}
    if not all(value is None or RULES[key].allows(value) for key, value in known.items()):
        return {}
    return _normal(known)


def validation_errors(requested: Mapping[str, Any]) -> dict[str, str]:
    """Return the errors of an update by setting; empty if it is valid."""
    return {
        key: rule.error
        for key, rule in [*RULES.items(), OLD_RULE]
        if key in requested and rule.error is not None and not rule.allows(requested[key])
    }


def updated(own: Mapping[str, Any], requested: Mapping[str, Any]) -> Config:
    """Return a session's own settings after a valid update."""
    known = {key: value for key, value in requested.items() if key in RULES}
    if "use_token_matching" in known:
        known.setdefault("sort_symbols", known["use_token_matching"])
    return {**own, **_normal(known)}


def _normal(known: Config) -> Config:
    mode = known.get("stm_mode")
    return known if mode is None or mode in STM_MODES else {**known, "stm_mode": "CLEAR"}
