"""Secrets: their text is not shown."""

import os
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from kato_consul._secret import Secret, SecretFile
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings
from tests.environment import settings_of

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
        repr(settings_of({"CONSUL_HTTP_TOKEN": HIDDEN})),
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


# --- files ----------------------------------------------------------------------------------


def check(secret: Secret) -> None:
    """Refuse a secret with a space in it."""
    if " " in secret.reveal():
        raise ConfigurationError("it contains a space")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """Each way to change a file is noticed: another file in its place, or other content."""
    path = tmp_path / "token"
    path.write_text(" first\n")
    file = SecretFile(path, "token_file", check)
    assert file.current() == Secret("first")
    (tmp_path / "new").write_text("second")
    (tmp_path / "new").rename(path)
    assert file.current() == Secret("second")
    path.write_text("third!")  # the same length, within the resolution of the modification time
    assert file.current() == Secret("third!")


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was last written some seconds ago is read once."""
    path = tmp_path / "token"
    path.write_text("first")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    file = SecretFile(path, "token_file", check)
    assert file.current() == Secret("first")
    monkeypatch.setattr(Path, "read_text", None)
    assert file.current() == Secret("first")


def test_a_change_that_keeps_the_time_is_noticed(tmp_path: Path) -> None:
    """Copying programs set the modification time of the file that they copy."""
    path = tmp_path / "token"
    file = SecretFile(path, "token_file", check)
    for text in ("first", "other"):
        path.write_text(text)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert file.current() == Secret(text)


def test_empty_file_is_one_that_is_being_replaced(tmp_path: Path) -> None:
    """A file that was truncated to be written anew does not take the secret away. One that was
    always empty has none."""
    path = tmp_path / "token"
    path.write_text("\n")
    file = SecretFile(path, "token_file", check)
    assert not file.current()
    path.write_text("first")
    assert file.current() == Secret("first")
    path.write_text("")
    assert file.current() == Secret("first")
    path.write_text("second")
    assert file.current() == Secret("second")


def test_what_uses_a_file_shares_what_was_read(tmp_path: Path) -> None:
    """What is made while the file is being replaced has the last secret, too."""
    path = tmp_path / "token"
    path.write_text("first")
    settings = Settings(consul_token_file=path)
    path.unlink()
    assert replace(settings, service="other").token_reader()() == Secret("first")
    path.write_text("second")
    assert settings.token == Secret("second")


@pytest.mark.parametrize("broken", [None, b"\xff\xfe", b"a b"])
def test_last_secret_is_used_while_the_file_cannot_be(tmp_path: Path, broken: bytes | None) -> None:
    """While the file is being replaced, the last secret is used. At first it is an error."""
    path = tmp_path / "token"
    file = SecretFile(path, "token_file", check)
    if broken is not None:
        path.write_bytes(broken)
    with pytest.raises(ConfigurationError, match=r"token_file|space"):
        file.current()
    path.write_text("first")
    assert file.current() == Secret("first")
    path.unlink()
    if broken is not None:
        path.write_bytes(broken)
    assert file.current() == Secret("first")
