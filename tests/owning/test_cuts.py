"""Whether a cut shows the session as a journal says."""

import pytest

from kato_consul._directory.entry import Cut, digest_of
from kato_consul._kato.journal import Journal
from kato_consul._kato.types import Observation
from kato_consul._owning.entry_state import shows

SYMBOLS: Observation = {"strings": ["a"]}
VECTORS: Observation = {"strings": [], "vectors": [[0.5] * 4]}


def cut(time: int, *events: list[str]) -> Cut:
    """Return the cut of a takeover that found this counter and memory."""
    return Cut(2, time, len(events), digest_of(events))


@pytest.mark.parametrize(
    ("observation", "found", "shown"),
    [
        pytest.param(SYMBOLS, cut(1, ["a"]), True, id="as it is"),
        pytest.param(SYMBOLS, cut(1, ["b"]), False, id="another event"),
        pytest.param(SYMBOLS, cut(2, ["a"]), False, id="another counter"),
        pytest.param(SYMBOLS, cut(1), False, id="learned"),
        pytest.param(VECTORS, cut(1, ["VCTR|1"]), True, id="vectors: KATO has chosen the symbol"),
        pytest.param(VECTORS, cut(2, ["VCTR|1"]), False, id="vectors: another counter"),
        pytest.param(VECTORS, cut(1), False, id="vectors: learned"),
    ],
)
def test_cut_shows_a_journal(observation: Observation, found: Cut, shown: bool) -> None:
    """The counter, the number of events, and the events themselves if they are known."""
    assert shows(found, Journal(session_id="s").observed(observation)) is shown
