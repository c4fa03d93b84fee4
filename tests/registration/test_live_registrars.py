"""Locks of the registrars of one machine that register the same instance."""

import os
from pathlib import Path

import pytest

from kato_consul._registration.live_registrars import LiveRegistrars

ID = "orders-1"


def registrars(directory: Path, count: int, agent: str = "agent") -> list[LiveRegistrars]:
    """Return registrars of the same instance; each has open files of its own."""
    return [LiveRegistrars(agent, directory) for _ in range(count)]


def test_only_the_last_one_is_told_so(tmp_path: Path) -> None:
    """Of three, only the last to leave is the last one; it removes the file."""
    first, second, third = registrars(tmp_path, 3)
    assert [one.join(ID) for one in (first, second, third)] == [True, True, True]
    assert not second.leave(ID)
    assert not first.leave(ID)
    assert third.leave(ID)
    third.end(ID)
    assert list(tmp_path.iterdir()) == []


def test_of_two_that_leave_at_once_one_is_the_last(tmp_path: Path) -> None:
    """Whatever the order of their steps, one of two that leave is told that it is the last."""
    first, second = registrars(tmp_path, 2)
    assert first.join(ID)
    assert second.join(ID)
    assert [first.leave(ID), second.leave(ID)] == [False, True]


def test_new_one_waits_while_the_last_one_deregisters(tmp_path: Path) -> None:
    """It gets the lock only after the end of the last one, and then as the only one."""
    last, new = registrars(tmp_path, 2)
    assert last.join(ID)
    assert last.leave(ID)
    assert not new.join(ID)
    last.end(ID)
    assert new.join(ID)
    assert new.leave(ID)


def test_leaving_again_and_joining_again(tmp_path: Path) -> None:
    """A deregistration that failed is repeated; an instance that is defined again is kept."""
    one, other = registrars(tmp_path, 2)
    assert one.join(ID)
    assert [one.leave(ID), one.leave(ID)] == [True, True]
    assert one.join(ID)
    assert other.join(ID)
    assert not one.leave(ID)


def test_other_agents_and_other_instances_do_not_count(tmp_path: Path) -> None:
    """The lock is that of one id on one agent."""
    (mine,), (theirs,) = registrars(tmp_path, 1), registrars(tmp_path, 1, "another agent")
    assert mine.join(ID)
    assert theirs.join(ID)
    assert theirs.join("orders-2")
    assert mine.leave(ID)
    assert theirs.leave(ID)


def test_removed_file_is_made_again(tmp_path: Path) -> None:
    """A cleaner of temporary files removes the file: the next look makes it again, and others
    are seen again."""
    old, new = registrars(tmp_path, 2)
    assert old.join(ID)
    (file,) = tmp_path.iterdir()
    file.unlink()
    assert old.join(ID)
    assert new.join(ID)
    assert not old.leave(ID)
    assert new.leave(ID)


@pytest.mark.parametrize("problem", ["missing", "a file"])
def test_directory_that_cannot_be_used(tmp_path: Path, problem: str) -> None:
    """Without the directory, each counts as the last one, and states why."""
    directory = tmp_path / "locks"
    if problem == "a file":
        directory.write_text("")
    (one,) = registrars(directory, 1)
    assert one.join(ID)
    assert str(directory) in one.unusable
    assert one.leave(ID)
    one.end(ID)


def test_last_one_removes_the_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in the temporary directory goes with the last file, and is made again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = LiveRegistrars("agent"), LiveRegistrars("agent")
    assert first.join(ID)
    assert second.join("orders-2")
    assert first.leave(ID)
    first.end(ID)
    assert len(list(tmp_path.iterdir())) == 1
    assert second.leave("orders-2")
    second.end("orders-2")
    assert list(tmp_path.iterdir()) == []
    assert first.join(ID)


def test_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which others may write is not used: they could keep the lock for ever."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"kato-consul-locks-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    one = LiveRegistrars("agent")
    assert one.join(ID)
    assert one.unusable == f"not a folder of this user alone: {folder}"


def test_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A child that outlives its parent's registrar has no lock: the next one is the last."""
    parent, other = registrars(tmp_path, 2)
    assert parent.join(ID)
    started, ends = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # it lives until the test closes the pipe
        os.write(started[1], b"x")
        os.close(ends[1])
        os.read(ends[0], 1)
        os._exit(0)
    os.read(started[0], 1)
    try:
        assert other.join(ID)
        parent.close()
        assert other.leave(ID)
    finally:
        for descriptor in (*started, *ends):
            os.close(descriptor)
        os.waitpid(child, 0)
