"""Consul: the calls to its HTTP API, and the types of their responses.

No module outside this package imports ``consul`` (py-consul).
"""
