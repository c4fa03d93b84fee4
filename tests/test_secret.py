"""Tokens that do not show themselves."""

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
def test_secret_does_not_show(text: str) -> None:
    """Neither a secret nor settings show the token, however they are turned into text."""
    assert HIDDEN not in text
    assert "Secret(***)" in text


def test_secret_not_in_traceback() -> None:
    """A traceback that shows local variables does not show the token."""

    def fails(settings: Settings) -> None:
        raise ValueError("for a traceback")

    with pytest.raises(ValueError, match="traceback") as caught:
        fails(Settings(consul_token=HIDDEN))
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "consul_token=Secret(***)" in shown
    # This test's own frame is shown too, but it only names HIDDEN.
    assert HIDDEN not in shown


def test_secret_is_a_value() -> None:
    """Secrets are equal, hash and count as true by what they hold; only `reveal` tells it."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a")
    assert not Secret("")
    assert Secret("a").reveal() == "a"
