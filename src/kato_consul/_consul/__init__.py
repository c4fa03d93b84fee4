"""Consul: what is asked of it, what people write about services, and the flows that keep both true.

Nothing outside this package imports ``consul``.
"""
