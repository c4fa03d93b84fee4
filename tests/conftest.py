"""Test run header: the deployment under test, and the seed of randomized tests."""

import pytest

from tests.integration.choosing import CHOICE, NoSuchDeployment, choose
from tests.kato.seeding import HEADER


def pytest_configure(config: pytest.Config) -> None:
    """Choose the deployment once. If a required one is not available, the run ends."""
    try:
        config.stash[CHOICE] = choose()
    except NoSuchDeployment as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return the deployment with the reason for its choice, and the seed."""
    return [str(config.stash[CHOICE]), HEADER]
