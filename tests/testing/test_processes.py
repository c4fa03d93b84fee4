"""`ChildProcess` with real programs: they end when their parent does, however it ends."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kato_consul.testing import processes
from kato_consul.testing.processes import ChildProcess
from tests.testing.waiting import eventually

# A program with a child of its own. Both write to the fifo that is their argument and keep it
# open, so its reader gets end-of-file when both have ended, despite zombies and reused pids.
FAMILY = 'exec 9>"$1"; echo child >&9; (echo grandchild >&9; while :; do sleep 60; done) & wait'
TIDY = 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.05; done'
STUBBORN = 'trap "" TERM; echo ready; while :; do sleep 60; done'

# A user's program: it starts a child and then ends in the way that the test chooses.
PARENT = """
import os, signal, sys
from pathlib import Path
from kato_consul.testing.processes import ChildProcess, _watchdog
fifo, log, ending = sys.argv[1:]
child = ChildProcess(["sh", "-c", FAMILY, "sh", fifo], name="family", log=Path(log))
child.start()
print(_watchdog.pid, flush=True)
sys.stdin.readline()
if ending == "frozen":
    child.freeze()
if ending == "return":
    sys.exit()
if ending == "raise":
    raise SystemExit("as if by an error")
if ending == "fork":
    if os.fork() == 0:  # a copy of this process that runs on for a while
        signal.pause()
if ending == "terminated":
    os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Fifo:
    """The reading end of a fifo that programs hold open while they live."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.received = b""

    def receives(self, words: set[str], within: float = 30.0) -> bool:
        """Return whether all of `words` are received in time."""
        deadline = time.monotonic() + within
        while not words <= set(self.received.decode().split()):
            if self._read(deadline) is None:
                return False
        return True

    def ends(self, within: float = 30.0) -> bool:
        """Return whether all programs that held the fifo end in time."""
        deadline = time.monotonic() + within
        while data := self._read(deadline):
            pass
        return data == b""

    def _read(self, deadline: float) -> bytes | None:
        ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        data = os.read(self._end, 4096)
        self.received += data
        return data

    def close(self) -> None:
        """Close the reading end."""
        os.close(self._end)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    """A fifo for one test."""
    fifo = Fifo(tmp_path / "fifo")
    yield fifo
    fifo.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The path of a program's log; its folder does not exist yet."""
    return tmp_path / "logs" / "program.log"


def logs(child: ChildProcess, word: str) -> bool:
    """Return whether `word` appears in the program's log in time."""
    return eventually(lambda: word in child.log_tail())


@pytest.mark.parametrize("ending", ["killed", "terminated", "frozen", "return", "raise", "fork"])
def test_nothing_outlives_its_parent(ending: str, fifo: Fifo, log: Path) -> None:
    """However the parent ends, its child, its grandchild and the watchdog end too."""
    script = f"FAMILY = {FAMILY!r}\n{PARENT}"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(fifo.path), str(log), ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        try:
            watchdog = int(parent.stdout.readline())
            assert fifo.receives({"child", "grandchild"})
            assert is_alive(watchdog)
            parent.stdin.write(b"\n")
            parent.stdin.flush()
            parent.wait(30)
            if ending in {"return", "raise"}:  # a parent that exits normally does it itself
                assert not is_alive(watchdog)
            assert fifo.ends()
            assert eventually(lambda: not is_alive(watchdog))
        finally:
            with contextlib.suppress(ProcessLookupError):  # a process is left only in "fork"
                os.killpg(parent.pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Return whether `pid` is a process and not a zombie."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # ended just now; or a system without /proc
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_pid_is_the_programs_own(log: Path) -> None:
    """`pid` is that of the program itself and of its group, not of a shell in between."""
    with ChildProcess(["sh", "-c", "echo $$; read x"], name="p", log=log) as child:
        child.wait(30)  # the program ended because its input is empty
        assert child.log_tail().strip() == str(child.pid)


def test_ctrl_c_reaches_neither_program_nor_watchdog(log: Path) -> None:
    """Program and watchdog have their own sessions, so Ctrl-C reaches only this process."""
    with ChildProcess(["sleep", "60"], name="p", log=log) as child:
        watchdog = processes._watchdog.pid
        assert watchdog is not None
        assert [os.getsid(child.pid), os.getsid(watchdog)] == [child.pid, watchdog]


def test_returncode_is_the_exit_status(log: Path) -> None:
    """`returncode` is the program's exit status, and None while it runs."""
    child = ChildProcess(["sh", "-c", "exec sleep 60"], name="p", log=log)
    assert (child.running, child.returncode) == (False, None)
    child.start()
    assert (child.running, child.returncode) == (True, None)
    child.kill()
    assert (child.running, child.returncode) == (False, -signal.SIGKILL)
    child.argv[-1] = "exit 7"
    child.start()
    assert child.wait(30) == 7


def test_processes_left_in_the_group_are_killed(fifo: Fifo, log: Path) -> None:
    """When a program ends and leaves a worker behind, the worker is killed."""
    leaving = FAMILY.removesuffix("wait") + "read x"
    with ChildProcess(["sh", "-c", leaving, "sh", str(fifo.path)], name="p", log=log) as child:
        child.wait(30)
        assert fifo.ends()


def test_terminate_sends_sigterm(log: Path) -> None:
    """A program that handles SIGTERM ends by itself. A second call has no effect."""
    child = ChildProcess(["sh", "-c", TIDY], name="p", log=log)
    child.start()
    assert logs(child, "ready")
    child.terminate()
    child.terminate()
    assert child.returncode == 3
    assert child.log_tail(1) == "bye"


def test_terminate_kills_after_the_timeout(log: Path) -> None:
    """A program that ignores SIGTERM is killed after the timeout."""
    child = ChildProcess(["sh", "-c", STUBBORN], name="p", log=log)
    child.start()
    assert logs(child, "ready")
    child.terminate(timeout=0.2)
    assert child.returncode == -signal.SIGKILL


def test_terminate_resumes_a_frozen_program(log: Path) -> None:
    """A frozen program is resumed, so that it can clean up and need not be killed."""
    child = ChildProcess(["sh", "-c", TIDY], name="p", log=log)
    child.start()
    assert logs(child, "ready")
    child.freeze()
    assert child.running
    child.terminate()
    assert child.returncode == 3


def test_freeze_and_thaw(log: Path) -> None:
    """A frozen program does nothing, and continues when thawed."""
    # A single process: a shell that is frozen while it starts a program is not stopped, but waits.
    script = "import time\nfor i in range(1, 10**6): print(i, flush=True); time.sleep(0.01)"
    with ChildProcess([sys.executable, "-c", script], name="p", log=log) as child:
        assert logs(child, "1")
        child.freeze()
        assert eventually(lambda: is_stopped(child.pid))
        before = child.log_tail()
        assert not eventually(lambda: child.log_tail() != before, within=0.1)
        child.thaw()
        assert eventually(lambda: child.log_tail() != before)


def is_stopped(pid: int) -> bool:
    """Return whether the child `pid` was stopped since the last call."""
    _, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
    return os.WIFSTOPPED(status)


def test_a_signal_to_an_ended_program_is_an_error(log: Path) -> None:
    """A signal to a program that ended raises an error with the program's name and log."""
    child = ChildProcess(["true"], name="the true one", log=log)
    child.start()
    child.wait(30)
    with pytest.raises(RuntimeError, match=r"the true one is not running.*program\.log"):
        child.signal(signal.SIGHUP)


def test_log_tail_has_the_last_lines(log: Path) -> None:
    """The tail has the last lines of stdout and stderr, also after a second start."""
    script = "echo one; echo two >&2; printf three"
    child = ChildProcess(["sh", "-c", script], name="p", log=log)
    assert child.log_tail() == ""
    for _ in range(2):
        child.start()
        child.wait(30)
    assert child.log_tail(2) == "two\nthree"
    assert child.log_tail() == "one\ntwo\nthreeone\ntwo\nthree"


def test_environment_is_replaced(log: Path) -> None:
    """`env` is the program's complete environment."""
    child = ChildProcess(["env"], name="p", log=log, env={"PATH": os.defpath, "KATO": "8000"})
    child.start()
    child.wait(30)
    names = {line.partition("=")[0] for line in child.log_tail().splitlines()}
    # A shell may add variables.
    assert {"PATH", "KATO"} <= names <= {"PATH", "KATO", "PWD", "OLDPWD", "SHLVL", "_"}


def test_a_missing_program_is_an_error(log: Path) -> None:
    """Starting a missing program raises an error with the name and the program."""
    child = ChildProcess(["no-such-program"], name="the agent", log=log)
    with pytest.raises(FileNotFoundError, match=r"the agent: no program 'no-such-program'"):
        child.start()
    assert not child.running


def test_a_dead_watchdog_is_replaced(fifo: Fifo, log: Path) -> None:
    """A watchdog that died is replaced at the next start, and also kills the older programs."""
    first = ChildProcess(["sleep", "60"], name="p", log=log)
    argv = ["sh", "-c", FAMILY, "sh", str(fifo.path)]
    with first, ChildProcess(argv, name="f", log=log):
        assert fifo.receives({"child", "grandchild"})
        old = processes._watchdog.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        assert eventually(lambda: not is_alive(old))
        with ChildProcess(["sleep", "60"], name="p", log=log):
            new = processes._watchdog.pid
            assert new not in {None, old}
            processes._watchdog.close()
            assert fifo.ends()
            assert first.wait(30) == -signal.SIGKILL
