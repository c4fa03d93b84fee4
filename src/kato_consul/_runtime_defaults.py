"""The clock and the chance of both shells' flows."""

import os
import random
import time

clock = time.monotonic
_source = random.Random()  # noqa: S311 - to spread load, not to keep secrets
os.register_at_fork(after_in_child=_source.seed)  # or all of a server's workers would draw alike
uniform = _source.random
