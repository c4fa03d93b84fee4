"""The seed of the property test: a new one each run, printed at its head, and repeatable."""

import os
import secrets

SEED = int(os.environ.get("KATO_CONSUL_SEED") or secrets.randbelow(2**32))
HEADER = f"settling property: seed {SEED} (KATO_CONSUL_SEED={SEED} repeats it)"
