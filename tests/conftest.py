"""Test run header: the deployment under test, and the seed of randomized tests."""

import signal
from pathlib import Path

import pytest

from tests.faults.tally import TallyTable
from tests.integration.choosing import CHOICE, NoSuchDeployment, choose
from tests.kato.seeding import HEADER

LONGEST_FIRST = (
    "faults/test_matrix.py",
    "security/test_tls.py",
    "cli/test_doctor.py",
    "security/test_acl.py",
    "discovery/test_cluster.py",
    "cli/test_run.py",
    "cli/test_demo.py",
    "cli/test_bad_consul.py",
    "docs/test_registrar_page.py",
    "cli/test_register.py",
    "simulation/test_scenarios.py",
    "shells/test_registrar_and_agent_restarts.py",
    "cli/test_exec.py",
    "cli/test_drain.py",
    "shells/test_registrars.py",
    "shells/test_interrupted.py",
)
"""Modules that take 12 s and more. A worker runs a whole module, so a long one that started last
would run alone at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of pytest-xdist, put the longest modules first."""
    if not hasattr(config, "workerinput"):
        return
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_configure(config: pytest.Config) -> None:
    """Choose the deployment once. If a required one is not available, the run ends."""
    try:
        config.stash[CHOICE] = choose()
    except NoSuchDeployment as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(TallyTable())
    # A job in the background of a shell script ignores SIGINT, and so would all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return the deployment with the reason for its choice, and the seed."""
    return [str(config.stash[CHOICE]), HEADER]
