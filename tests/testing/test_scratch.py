"""Scratch folders: made, removed, and never left behind."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kato_consul.testing.scratch import ScratchFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, with nothing else in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_goes_with_the_block(temporary: Path) -> None:
    """The folder is there, ours alone, and gone with the block, whatever was put into it."""
    with ScratchFolder("kato-") as scratch:
        assert scratch.path.parent == temporary
        assert scratch.path.name.startswith("kato-")
        assert scratch.path.stat().st_mode & 0o777 == 0o700
        (scratch.path / "file").write_text("something")
    assert list(temporary.iterdir()) == []


def test_it_goes_with_the_object(temporary: Path) -> None:
    """Nobody has to remember to remove it; twice is harmless."""
    scratch = ScratchFolder("kato-")
    scratch.remove()
    scratch.remove()
    scratch = ScratchFolder("kato-")
    del scratch
    assert list(temporary.iterdir()) == []


def test_an_interrupt_right_after_it_was_made(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the worst moment, after the folder was made and before anybody has it."""
    make = os.mkdir

    def made_and_interrupted(*given: Any) -> None:
        make(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", made_and_interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        ScratchFolder("kato-")
    assert len(list(temporary.iterdir())) == 1  # the traceback still holds it
    del caught
    assert list(temporary.iterdir()) == []


def test_a_forked_child_leaves_it(temporary: Path) -> None:
    """A child that was forked off and ends does not remove what is its parent's."""
    with ScratchFolder("kato-") as scratch:
        child = os.fork()
        if child == 0:
            scratch.remove()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert scratch.path.is_dir()
