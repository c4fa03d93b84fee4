"""The server of the proxy: listening, keys, limits, workers, drain, metrics, registration.

It serves any ASGI application, and knows nothing of KATO but the paths of its probes, and where the
application leaves the template of a path.
"""
