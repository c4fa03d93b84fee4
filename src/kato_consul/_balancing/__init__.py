"""Which instance: pure decisions over a `Snapshot`. This room never sees HTTP."""
