"""Test runs: the header, the order of modules, and their distribution to workers."""

import os
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from kato_consul._environment import FromEnvironment
from kato_consul.settings import Settings
from tests.faults.tally import TallyTable
from tests.integration.choosing import CHOICE, NoSuchDeployment, choose
from tests.kato.seeding import HEADER

LONGEST_FIRST = (
    "histories/test_histories.py",
    "shared_sessions/test_protocol_cases.py",
    "shared_sessions/test_slow_and_away.py",
    "faults/test_matrix.py",
    "gateways/test_every_gateway.py",
    "gateways/test_load.py",
    "shared_sessions/test_ends.py",
    "shared_sessions/test_options.py",
    "shared_sessions/test_lost_data.py",
    "shared_sessions/test_kato_faults.py",
    "shared_sessions/test_full.py",
    "callers/test_through_proxy.py",
    "directory/redis/test_redis_faults.py",
    "directory/redis/test_redis_scripts.py",
    "directory/redis/test_redis_directory.py",
    "directory/redis/test_redis_queue.py",
    "security/test_tls.py",
    "cli/test_doctor.py",
    "security/test_acl.py",
    "directory/test_consul_cluster.py",
    "directory/test_consul_faults.py",
    "discovery/test_cluster.py",
    "proxy/server/test_workers.py",
    "proxy/server/test_restart.py",
    "proxy/server/test_drain.py",
    "examples/test_services.py",
    "cli/registrar/test_run.py",
    "cli/test_demo.py",
    "cli/registrar/test_deregister.py",
    "shells/registrar/test_operators.py",
    "cli/test_bad_consul.py",
    "docs/test_registrar_page.py",
    "cli/registrar/test_register.py",
    "cli/test_gateway.py",
    "simulation/test_scenarios.py",
    "shells/registrar/test_agent_restarts.py",
    "cli/registrar/test_exec.py",
    "cli/registrar/test_drain.py",
    "shells/registrar/test_registrars.py",
    "shells/registrar/test_interrupted.py",
)
"""Modules that take 12 s and more. A worker runs a whole module, so a long one that started last
would run alone at the end."""


class OneDeployment(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is untyped
    """The scheduler of pytest-xdist that gives whole modules to a worker, with tests/integration as
    one module: its tests share one deployment, which on Docker has fixed ports."""

    def _split_scope(self, nodeid: str) -> str:
        module: str = super()._split_scope(nodeid)
        return "tests/integration" if module.startswith("tests/integration/") else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneDeployment:
    """Use `OneDeployment` where tests run in parallel."""
    return OneDeployment(config, log)


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
    for setting in fields(Settings):  # the developer's own settings must not reach the tests
        if isinstance(setting.default, FromEnvironment):
            os.environ.pop(setting.default.variable, None)
    # A job in the background of a shell script ignores SIGINT, and so would all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return the deployment with the reason for its choice, and the seed."""
    return [str(config.stash[CHOICE]), HEADER]
