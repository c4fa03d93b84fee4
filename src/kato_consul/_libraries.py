"""Libraries that are imported with the first client, and not with the package.

Together they take longer to import than the rest of the package. They are imported on the thread
that creates a client, a registrar or a transport, and not at their first use. That may be in a
background thread, and a child that is forked during an import waits forever at its own import of
the same module. (py-consul is imported with the first `ConsulApi`, which is created there too.)
"""


def load_libraries() -> None:
    """Import structlog, and tenacity's waits."""
    import structlog  # noqa: F401
    import tenacity.wait  # noqa: F401
