"""`Placement`: real files, checks and reloads."""

import os
import re
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from kato_consul import ConfigurationError
from kato_consul.gateways import GATEWAYS, Placement, Rejected
from kato_consul.gateways import placing as placing_module
from kato_consul.gateways.placing import command_check
from kato_consul.testing.gateways import NginxServer
from tests.cli.running import started

ACCEPTS = command_check("grep -q good {file}")


def reloading(path: Path) -> str:
    """Return a command that appends what the file has to a log beside it."""
    return f"cat {path} >> {path.parent / 'reloads'}"


def reloads(path: Path) -> str:
    """Return what each reload has read."""
    log = path.parent / "reloads"
    return log.read_text() if log.exists() else ""


def only(path: Path) -> bool:
    """Return whether nothing is left beside the file but the log."""
    return {one.name for one in path.parent.iterdir()} <= {path.name, "reloads"}


def test_a_file_is_placed_and_reloaded_only_if_it_changes(tmp_path: Path) -> None:
    """The same text again does nothing."""
    path = tmp_path / "kato.conf"
    placement = Placement(path, ACCEPTS, reloading(path))
    assert placement.place("good 1\n")
    assert not placement.place("good 1\n")
    assert placement.place("good 2\n")
    assert path.read_text() == "good 2\n"
    assert reloads(path) == "good 1\ngood 2\n"
    assert only(path)


def test_a_file_that_is_not_accepted_changes_nothing(tmp_path: Path) -> None:
    """The error has the command, its status and its output."""
    path = tmp_path / "kato.conf"
    check = command_check("sh -c 'echo line 3 is wrong; exit 4'")
    path.write_text("before\n")
    with pytest.raises(Rejected, match=r"not accepted: `sh .*` ended with status 4:\nline 3 is"):
        Placement(path, check, reloading(path)).place("after\n")
    assert path.read_text() == "before\n"
    assert reloads(path) == ""
    assert only(path)


@pytest.mark.parametrize("name", ["kato[1].conf", "kato *.conf", "kato?.conf", "kato.conf.$1"])
def test_copy_that_is_checked_has_a_plain_name(tmp_path: Path, name: str) -> None:
    """nginx takes the name of an included file for a pattern: one that matches nothing is right."""
    checked = []

    def check(file: Path) -> list[str]:
        checked.append(file.name)
        return ["true"]

    assert Placement(tmp_path / name, check).place("text\n")
    assert set(checked) <= {"checked.conf", "checked"}


def place_with_nginx(
    text: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Place a text that nginx itself checks in a temporary folder with this name."""
    temporary = tmp_path / folder
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    program = NginxServer(Path(os.devnull), 1).binary
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    try:
        return Placement(tmp_path / "kato.conf", GATEWAYS["nginx"].check).place(text)
    finally:
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("folder", ["a b", "a'b", 'a"b', "a\\nb", "ä", "a;b{c}#", "a\udcffb"])
def test_names_of_the_temporary_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx finds the file in it, and rejects only one that is wrong."""
    with pytest.raises(Rejected, match='unexpected "}"'):
        place_with_nginx("upstream a { wrong }\n", folder, tmp_path, monkeypatch)
    (tmp_path / folder).rmdir()
    text = "upstream a { server 127.0.0.1:1; }\n"
    assert place_with_nginx(text, folder, tmp_path, monkeypatch)


@pytest.mark.parametrize("folder", ["a[b]", "a*b", "a?b", "a$b", "${a}"])
def test_temporary_folder_that_nginx_reads_otherwise(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error that says what to do: an include that matches nothing would be accepted."""
    with pytest.raises(ConfigurationError, match=re.escape(folder) + r".*Set TMPDIR to another"):
        place_with_nginx("upstream a { wrong }\n", folder, tmp_path, monkeypatch)
    assert not (tmp_path / "kato.conf").exists()


def test_messages_name_the_file_and_not_its_copy(tmp_path: Path) -> None:
    """The copy that is checked, and what is written around it, are gone when they are read."""
    path = tmp_path / "kato.conf"

    def check(file: Path) -> list[str]:
        around = file.with_name(f"around-{file.name}")
        return ["sh", "-c", f"echo {file}:3 in {around}; exit 1"]

    with pytest.raises(Rejected) as raised:
        Placement(path, check).place("text\n")
    assert f"\n{path}:3 in {path}" in str(raised.value)
    assert "kato-consul-gateway-" not in str(raised.value)


def test_what_is_there_is_checked_again_if_asked(tmp_path: Path) -> None:
    """It may have been written without a check. It is not reloaded."""
    path = tmp_path / "kato.conf"
    assert Placement(path, None).place("bad\n")
    placement = Placement(path, ACCEPTS, reloading(path))
    assert not placement.place("bad\n")
    with pytest.raises(Rejected):
        placement.place("bad\n", recheck=True)
    assert Placement(path, None).place("good\n")
    assert not placement.place("good\n", recheck=True)
    assert reloads(path) == ""


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """And not a file that would have been written there."""
    folder = tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match=f"there is no folder {folder}$"):
        Placement(folder / "kato.conf", None).place("1")


def test_a_failed_reload_restores_the_file(tmp_path: Path) -> None:
    """Also if there was none."""
    path = tmp_path / "kato.conf"
    failing = Placement(path, None, "echo cannot bind; exit 1")
    with pytest.raises(Rejected, match=r"did not reload: .* status 1:\ncannot bind"):
        failing.place("first\n")
    assert not path.exists()
    assert Placement(path, None, reloading(path)).place("first\n")
    with pytest.raises(Rejected):
        failing.place("second\n")
    assert path.read_text() == "first\n"
    assert only(path)


def test_mode_owner_and_links_are_kept(tmp_path: Path) -> None:
    """A new file has the mode of any other."""
    path = tmp_path / "real" / "kato.conf"
    path.parent.mkdir()
    assert Placement(path, None).place("1")
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    link = tmp_path / "link.conf"
    link.symlink_to(path)
    owner = (path.stat().st_uid, path.stat().st_gid)
    assert Placement(link, None).place("2")
    assert link.is_symlink()
    assert path.read_text() == "2"
    assert path.stat().st_mode & 0o777 == 0o640
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def current_umask() -> int:
    """Return this process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """The file that was open stays what it was: the new one is another file."""
    path = tmp_path / "kato.conf"
    placement = Placement(path, None)
    placement.place("a" * 100_000)
    with path.open() as reader:
        placement.place("b" * 100_000)
        assert set(reader.read()) == {"a"}


def test_a_program_in_the_background_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is started by the reload keeps the output open."""
    monkeypatch.setattr(placing_module, "COMMAND_TIMEOUT", 20.0)
    path = tmp_path / "kato.conf"
    assert Placement(path, None, "sleep 100 & echo $! > pid; mv pid " + str(tmp_path)).place("1")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has started."""
    monkeypatch.setattr(placing_module, "COMMAND_TIMEOUT", 0.3)
    path = tmp_path / "kato.conf"
    with pytest.raises(Rejected, match=r"did not reload: `sleep 100; :` took longer than 0\.3 s"):
        Placement(path, None, "sleep 100; :").place("1")
    assert not path.exists()


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    """And so is one that may not be run."""
    with pytest.raises(Rejected, match="'no-such-program' could not be run"):
        Placement(tmp_path / "kato.conf", command_check("no-such-program {file}")).place("1")
    with pytest.raises(Rejected, match=f"'{tmp_path}' could not be run"):
        Placement(tmp_path / "kato.conf", command_check(f"{tmp_path}")).place("1")


def test_a_process_that_ends_before_the_reload_is_made_up_for(tmp_path: Path) -> None:
    """The text is in place, and the gateway has not read it: the next one lets it, although nothing
    has changed. If that fails, the text of before is restored."""
    path = tmp_path / "kato.conf"
    path.write_text("before\n")
    program = (
        "from pathlib import Path; from kato_consul.gateways import Placement\n"
        f"Placement(Path({str(path)!r}), None, 'echo reloading >&2; sleep 100').place('after\\n')"
    )
    with started(program=program) as process:
        assert process.stderr is not None
        while path.read_text() != "after\n":
            assert process.poll() is None
    with pytest.raises(Rejected):
        Placement(path, None, "exit 1").place("after\n")
    assert path.read_text() == "before\n"
    assert Placement(path, None, reloading(path)).place("after\n")
    assert reloads(path) == "after\n"
    assert only(path)


def test_paths_with_spaces_are_one_word_of_a_check(tmp_path: Path) -> None:
    """The file's path is put into a word, and not into a line."""
    words = command_check(f"{sys.executable} -c 'x y' --file={{file}}")(Path("/a b/c"))
    assert words == [sys.executable, "-c", "x y", "--file=/a b/c"]
