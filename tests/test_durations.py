"""Durations: Go's format."""

import pytest

from kato_consul._durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10),
        ("0s", 0),
        ("1m", 60),
        ("1m30s", 90),
        ("2h", 7200),
        ("1h2m3s", 3723),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("250us", 250e-6),
        ("250µs", 250e-6),
        ("7ns", 7e-9),
        ("1s500ms", 1.5),
    ],
)
def test_valid_duration_is_parsed(text: str, expected: float) -> None:
    """Durations that Go's ParseDuration accepts, in seconds."""
    assert parse_duration(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "ten",
        "10 s",
        " 10s",
        "10s ",
        "10S",
        "1d",
        "10s5",
        "-5s",
        "1..5s",
        ".s",
        "1,5s",
        "٣s",
        "1０s",
    ],
)
def test_invalid_duration_is_refused(text: str) -> None:
    """Any other text is refused. The message contains the text and examples."""
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is not a duration: write it like 10s, 1m30s or 500ms"
