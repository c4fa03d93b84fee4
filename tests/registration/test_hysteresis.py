"""Hysteresis: when the results of probes change the health status, or its note."""

import pytest

from kato_consul._registration.health_probe import PASSING_NOTE
from kato_consul._registration.health_report import HUNG_NOTE
from kato_consul._registration.hysteresis import Hysteresis, ProbeResult
from kato_consul._registration.registrar_state import HealthStatus
from kato_consul.models import Health

P, W, C = Health.PASSING, Health.WARNING, Health.CRITICAL


@pytest.mark.parametrize(
    ("results", "statuses"),
    [
        ("P", "P"),  # the first decides alone
        ("C", "C"),
        ("PCP", "PPP"),  # one failed probe is not a crash
        ("PCC", "PPC"),
        ("PCPC", "PPPC"),  # two of the last three
        ("CPP", "CCP"),
        ("PWCP", "PPPP"),  # no majority: no change
        ("PWWCC", "PPWWC"),
        ("PPPCPPCPP", "PPPPPPPPP"),  # rare failures do not add up
        ("PCPCPCPC", "PPPCCCCC"),  # an instance that flaps becomes critical and stays so
        ("CPCPCPP", "CCCCCCP"),  # until two probes in a row pass
        ("CWPW", "CCCC"),
        ("CWW", "CCW"),
    ],
)
def test_hysteresis(results: str, statuses: str) -> None:
    """Two of the last three make the status worse; the last two in a row make it better."""
    by_letter = {"P": P, "W": W, "C": C}
    hysteresis, health, found = Hysteresis(2, 3), None, ""
    for letter in results:
        health = hysteresis.after(ProbeResult(by_letter[letter], letter), health)
        found += health.status.value[0].upper()
    assert found == statuses


@pytest.mark.parametrize(
    ("results", "notes"),
    [
        ("aaa", "aaa"),
        ("aba", "aaa"),  # one probe with another reason
        ("abb", "aab"),
        ("abab", "aaaa"),  # reasons that alternate: no change
        ("abcbb", "aaaab"),
    ],
)
def test_note_changes_when_probes_agree(results: str, notes: str) -> None:
    """While the status stays the same, a new note needs two results in a row. Until then the
    health status stays the same object."""
    hysteresis, health, found = Hysteresis(2, 3), None, ""
    for letter in results:
        after = hysteresis.after(ProbeResult(P, letter), health)
        assert health is None or after is health or after.note != health.note
        health = after
        found += health.note
    assert found == notes


def test_note_is_that_of_the_latest_probe() -> None:
    """A vanished machine looks hung on the connection that was kept, and then cannot be reached."""
    hysteresis = Hysteresis(2, 3)
    health = hysteresis.after(ProbeResult(P, PASSING_NOTE), None)
    health = hysteresis.after(ProbeResult(C, HUNG_NOTE, hung=True), health)
    health = hysteresis.after(ProbeResult(C, "could not connect"), health)
    assert health == HealthStatus(C, "could not connect")
