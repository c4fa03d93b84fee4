"""Load balancing: pure decisions over a `Snapshot`. This package never sees HTTP."""
