"""Seed of the property test: new in each run, and printed at its start so that it is repeatable."""

import os
import secrets

SEED = int(os.environ.get("KATO_CONSUL_SEED") or secrets.randbelow(2**32))
HEADER = f"settling property: seed {SEED} (KATO_CONSUL_SEED={SEED} repeats it)"
