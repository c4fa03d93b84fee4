"""`ScratchFolder`: created, removed, and never left behind."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from kato_consul.testing.scratch import ScratchFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_removed_at_the_end_of_the_block(temporary: Path) -> None:
    """The folder exists, with mode 700, and is removed with its contents after the block."""
    with ScratchFolder("kato-") as scratch:
        assert scratch.path.parent == temporary
        assert scratch.path.name.startswith("kato-")
        assert scratch.path.stat().st_mode & 0o777 == 0o700
        (scratch.path / "file").write_text("something")
    assert list(temporary.iterdir()) == []


def test_removed_with_the_object(temporary: Path) -> None:
    """Without `remove` the folder is removed with the object; `remove` may be called twice."""
    scratch = ScratchFolder("kato-")
    scratch.remove()
    scratch.remove()
    scratch = ScratchFolder("kato-")
    del scratch
    assert list(temporary.iterdir()) == []


def test_removed_after_an_interrupt_during_creation(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C at the worst moment, when the folder exists but the object does not."""
    mkdir = os.mkdir

    def mkdir_interrupted(*given: Any) -> None:
        mkdir(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", mkdir_interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        ScratchFolder("kato-")
    assert len(list(temporary.iterdir())) == 1  # the traceback still references the object
    del caught
    assert list(temporary.iterdir()) == []


def test_a_forked_child_does_not_remove_it(temporary: Path) -> None:
    """A forked child cannot remove its parent's folder."""
    with ScratchFolder("kato-") as scratch:
        child = os.fork()
        if child == 0:
            scratch.remove()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert scratch.path.is_dir()
