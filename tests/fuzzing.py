"""Fuzzing: the seed and the size of tests with generated input, and odd JSON for them.

They are fixed in `make test`; `make hunt` passes new seeds and larger sizes.
"""

import json
import os

from hypothesis import strategies as st

from tests.kato.seeding import SEED as SEED

EXAMPLES = int(os.environ.get("KATO_CONSUL_FUZZ_EXAMPLES") or 100)
"""Generated inputs for each test."""

_NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([-(10**30), 10**400, 2**63, 2**64]),
    st.floats(),  # json writes NaN and Infinity, which are not JSON
)
_TEXT = st.one_of(st.text(max_size=10), st.sampled_from(["\ud800", "\0", "a b", "\u2603"]))


def json_values(names: str) -> st.SearchStrategy[object]:
    """Return a strategy for JSON values whose objects have fields of these names, or others."""
    field = st.one_of(st.sampled_from(names.split()), st.text(max_size=5))
    return st.recursive(
        st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXT),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(field, inner, max_size=6)
        ),
        max_leaves=25,
    )


def json_bodies(names: str) -> st.SearchStrategy[bytes]:
    """Return a strategy for bodies: JSON, damaged JSON, deep JSON, and arbitrary bytes."""
    whole = json_values(names).map(lambda value: json.dumps(value).encode())
    return st.one_of(
        whole,
        st.tuples(whole, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]]),
        st.binary(max_size=40),
        st.sampled_from([b"[" * 50_000, b'{"a":' * 50_000, b"\xff" * 10, b'"\\ud800"']),
    )
