"""Runtime defaults: the clock and the random source of both shells' flows."""

import os
import random
import time

clock = time.monotonic
_source = random.Random()  # noqa: S311 - it balances load, and protects no secret
os.register_at_fork(after_in_child=_source.seed)  # else all workers of a server draw the same
uniform = _source.random
