"""The header Idempotency-Key."""

import pytest

from kato_consul.proxy.idempotency import KeyInHand, KeysInHand, MalformedKey, key_of


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (' "a" ', "a"),
        (r'"a\"b\\c"', r"a\"b\c".replace('\\"', '"')),
        ('"two words, and a comma"', "two words, and a comma"),
    ],
)
def test_keys(header: str | None, key: str | None) -> None:
    """Strings of structured fields, and bare ones."""
    assert key_of(header) == key


@pytest.mark.parametrize(
    "header",
    ["", " ", '""', '"', '"a', '"a" "b"', 'a"b', "a b", "a, b", r'"a\b"', '"ä"', f'"{"x" * 256}"'],
)
def test_malformed(header: str) -> None:
    """Anything else is refused."""
    with pytest.raises(MalformedKey):
        key_of(header)


def test_in_hand() -> None:
    """One request at a time has a key; other sessions and later requests are not affected."""
    keys = KeysInHand()
    with keys.hold("s", "k"):
        with pytest.raises(KeyInHand), keys.hold("s", "k"):
            pass
        with keys.hold("s", "other"), keys.hold("t", "k"):
            pass
    with keys.hold("s", "k"):
        pass
