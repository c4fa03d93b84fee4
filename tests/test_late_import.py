"""Late imports: a fork waits until they are done."""

import subprocess
import sys
from pathlib import Path

CODE = """
import os, signal, sys, threading
from kato_consul._late_import import late_import

sys.path.insert(0, sys.argv[1])
importing = threading.Event()

def import_late():
    with late_import:
        importing.set()
        import slow

thread = threading.Thread(target=import_late)
thread.start()
importing.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)  # without the lock the import below waits forever
    with late_import:
        import slow
    os._exit(slow.VALUE)
with late_import:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""


def test_fork_during_a_late_import_leaves_the_module_usable_in_the_child(tmp_path: Path) -> None:
    """A child forked while another thread imports a library can import that library."""
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.5); VALUE = 7\n")
    # Forking with threads is what is tested; Python 3.12 and later warn of it.
    argv = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CODE, str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "7\n"
