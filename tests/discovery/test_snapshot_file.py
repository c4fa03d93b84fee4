"""Snapshot file: atomic, shared by clients of the same query, and optional."""

import logging
import stat
from pathlib import Path

import pytest

from kato_consul._discovery.snapshot_file import SnapshotFile
from kato_consul.settings import Settings
from tests.building import instance, snapshot

GOOD = snapshot(instance("kato-1"), instance("kato-2"))


def test_written_snapshot_is_read_by_the_same_query_only(tmp_path: Path) -> None:
    """A saved snapshot is read by any client with the same query, and by no other."""
    folder = tmp_path / "made" / "at need"
    file = SnapshotFile(Settings(state_dir=folder))
    assert file.read() is None
    file.write(GOOD, 1_000.0)
    read = SnapshotFile(Settings(state_dir=folder, consul_addr="elsewhere.test:1")).read()
    assert read is not None
    assert (read.snapshot, read.confirmed_at) == (GOOD, 1_000.0)
    assert SnapshotFile(Settings(state_dir=folder, tags=("v3",))).read() is None
    assert [path.name for path in folder.iterdir()] == [file.path.name if file.path else ""]


def test_file_is_replaced_atomically(tmp_path: Path) -> None:
    """A new file replaces the old one: a reader that has it open reads it to the end."""
    file = SnapshotFile(Settings(state_dir=tmp_path))
    file.write(GOOD, 1_000.0)
    assert file.path is not None
    with file.path.open("rb") as old:
        file.write(snapshot(instance("kato-3")), 2_000.0)
        assert b"kato-1" in old.read()
    read = file.read()
    assert read is not None
    assert read.snapshot.instances == (instance("kato-3"),)


@pytest.mark.parametrize("content", [b"", b"half", b"{}"])
def test_invalid_file_is_logged_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """The warning contains the path. The next write replaces the file."""
    file = SnapshotFile(Settings(state_dir=tmp_path))
    assert file.path is not None
    file.path.write_bytes(content)
    assert file.read() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(file.path) in record.getMessage()
    file.write(GOOD, 1_000.0)
    assert file.read() is not None


def test_failed_write_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A failed write is logged once, not at each change, and leaves no file."""
    (tmp_path / "file").write_text("in the way")
    file = SnapshotFile(Settings(state_dir=tmp_path / "file"))
    file.write(GOOD, 1_000.0)
    file.write(GOOD, 1_001.0)
    (record,) = caplog.records
    assert "discovery.snapshot_not_saved" in record.getMessage()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_file_has_default_permissions(tmp_path: Path) -> None:
    """The file has default permissions: a command run as root must not lock out the service."""
    file = SnapshotFile(Settings(state_dir=tmp_path))
    file.write(GOOD, 1_000.0)
    assert file.path is not None
    beside = tmp_path / "beside"
    beside.touch()
    assert stat.S_IMODE(file.path.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


def test_nothing_is_saved_without_a_directory() -> None:
    """Without ``state_dir`` nothing is saved or read."""
    file = SnapshotFile(Settings())
    file.write(GOOD, 1_000.0)
    assert (file.path, file.read()) == (None, None)
