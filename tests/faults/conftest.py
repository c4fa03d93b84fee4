"""Fault matrix: its size."""

import os

import pytest

OBSERVATIONS = int(os.environ.get("KATO_CONSUL_FAULT_OBSERVATIONS") or 120)
"""Observations of each cell: enough for each fault to occur; 1,000 and more for published runs."""

EVERYTHING = bool(os.environ.get("KATO_CONSUL_FAULT_ENGINES"))
"""Run all cells on all engines, not only those whose result depends on the engine."""


@pytest.fixture
def anyio_backend() -> str:
    """The async driver is for asyncio."""
    return "asyncio"
