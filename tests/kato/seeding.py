"""Seed and size of the property tests: the same in each run; `make hunt` passes new seeds."""

import os

SEED = int(os.environ.get("KATO_CONSUL_SEED") or 7)
HEADER = f"settling property: seed {SEED} (KATO_CONSUL_SEED sets another)"

RUNS = int(os.environ.get("KATO_CONSUL_SETTLING_RUNS") or 200)
"""Runs of each property test: 200 take 5 to 10 s; `make hunt` passes more."""
