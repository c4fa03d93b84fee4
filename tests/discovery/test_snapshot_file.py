"""The copy on disk: whole, kept while there is something good, and no trouble when it cannot be."""

import logging
import stat
from pathlib import Path

import pytest

from kato_consul._discovery.snapshot_file import SnapshotFile
from kato_consul.settings import Settings
from tests.building import instance, snapshot

GOOD = snapshot(instance("kato-1"), instance("kato-2"))


def test_written_and_read(tmp_path: Path) -> None:
    """What was written is read, also by another client of the same question; nothing else is."""
    folder = tmp_path / "made" / "at need"
    copies = SnapshotFile(Settings(state_dir=folder))
    assert copies.read() is None
    copies.write(GOOD, 1_000.0)
    read = SnapshotFile(Settings(state_dir=folder, consul_addr="elsewhere.test:1")).read()
    assert read is not None
    assert (read.snapshot, read.confirmed) == (GOOD, 1_000.0)
    assert SnapshotFile(Settings(state_dir=folder, tags=("v3",))).read() is None
    assert [path.name for path in folder.iterdir()] == [copies.path.name if copies.path else ""]


def test_replaced_whole(tmp_path: Path) -> None:
    """A new copy takes the place of the old one: who has that open reads it to its end."""
    copies = SnapshotFile(Settings(state_dir=tmp_path))
    copies.write(GOOD, 1_000.0)
    assert copies.path is not None
    with copies.path.open("rb") as old:
        copies.write(snapshot(instance("kato-3")), 2_000.0)
        assert b"kato-1" in old.read()
    read = copies.read()
    assert read is not None
    assert read.snapshot.instances == (instance("kato-3"),)


@pytest.mark.parametrize("content", [b"", b"half", b"{}"])
def test_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    """A damaged copy is told in the log, with its place, and not used; the next write mends it."""
    copies = SnapshotFile(Settings(state_dir=tmp_path))
    assert copies.path is not None
    copies.path.write_bytes(content)
    assert copies.read() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(copies.path) in record.getMessage()
    copies.write(GOOD, 1_000.0)
    assert copies.read() is not None


def test_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be written is told once, not at each change, and leaves nothing behind."""
    (tmp_path / "file").write_text("in the way")
    copies = SnapshotFile(Settings(state_dir=tmp_path / "file"))
    copies.write(GOOD, 1_000.0)
    copies.write(GOOD, 1_001.0)
    (record,) = caplog.records
    assert "discovery.snapshot_not_saved" in record.getMessage()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_readable_by_others(tmp_path: Path) -> None:
    """It has the permissions of any file: a command run as root must not lock the service out."""
    copies = SnapshotFile(Settings(state_dir=tmp_path))
    copies.write(GOOD, 1_000.0)
    assert copies.path is not None
    beside = tmp_path / "beside"
    beside.touch()
    assert stat.S_IMODE(copies.path.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


def test_none() -> None:
    """Without a folder there is no copy."""
    copies = SnapshotFile(Settings())
    copies.write(GOOD, 1_000.0)
    assert (copies.path, copies.read()) == (None, None)
