"""Load balancing: pure decisions over a `Snapshot`. This package does not use HTTP."""
