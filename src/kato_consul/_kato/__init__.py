"""KATO's session API: one writer per session, every observation exactly once.

This room never sees Consul: it asks `kato_consul._requests` for a call and says what it proves.
"""
