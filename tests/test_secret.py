"""Secrets: their text is not shown."""

import traceback

import pytest

from kato_consul._secret import Secret
from kato_consul.settings import Settings

HIDDEN = "b1gs8d1e-0000-hidden"


@pytest.mark.parametrize(
    "text",
    [
        repr(Secret(HIDDEN)),
        str(Secret(HIDDEN)),
        f"{Secret(HIDDEN)}",
        f"{Secret(HIDDEN)!r}",
        "%s %r" % (Secret(HIDDEN), Secret(HIDDEN)),  # noqa: UP031 - logging formats like this
        repr([Secret(HIDDEN)]),
        repr(Settings(consul_token=HIDDEN)),
        str(Settings(consul_token=Secret(HIDDEN))),
        repr(Settings.from_env({"CONSUL_HTTP_TOKEN": HIDDEN})),
    ],
)
def test_text_of_a_secret_or_settings_is_masked(text: str) -> None:
    """No text form of a secret or of settings contains the token."""
    assert HIDDEN not in text
    assert "Secret(***)" in text


def test_traceback_with_locals_does_not_contain_the_token() -> None:
    """A traceback that contains local variables does not contain the token."""

    def fails(settings: Settings) -> None:
        raise ValueError("for a traceback")

    with pytest.raises(ValueError, match="traceback") as caught:
        fails(Settings(consul_token=HIDDEN))
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "consul_token=Secret(***)" in shown
    # This test's own frame is included too, but only with the name HIDDEN.
    assert HIDDEN not in shown


def test_secrets_are_compared_by_their_text() -> None:
    """Equality, hash and truth depend on the text; only `reveal` returns it."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a")
    assert not Secret("")
    assert Secret("a").reveal() == "a"
