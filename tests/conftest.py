"""Says at the head of each run what it runs on, and the seed of what is random."""

import pytest

from tests.integration.choosing import CHOICE, NoSuchDeployment, choose
from tests.kato.seeding import HEADER


def pytest_configure(config: pytest.Config) -> None:
    """Choose the deployment, once, before anything runs; one forced in vain ends the run."""
    try:
        config.stash[CHOICE] = choose()
    except NoSuchDeployment as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The choice and its reason, and the seed of what is random."""
    return [str(config.stash[CHOICE]), HEADER]
