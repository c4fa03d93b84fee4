"""Session directories: which process owns which session, in Consul's KV or in Redis.

A directory stores and leases entries. What an owner does with a session is in `_owning`.
"""
