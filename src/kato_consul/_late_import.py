"""Late imports: the lock under which a library is imported at its first use.

Python has a lock for each module that is being imported, and a fork copies it in its state (as of
3.13). A child that is forked while another thread imports a module would wait forever at its own
import of that module. Background threads import libraries here, and servers such as gunicorn fork.
So every late import holds this lock, and a fork waits for the lock.
"""

import os
import threading

late_import = threading.RLock()
"""Use it as ``with late_import: from library import name``."""

os.register_at_fork(
    before=late_import.acquire,
    after_in_parent=late_import.release,
    after_in_child=late_import.release,
)
