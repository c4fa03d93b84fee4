"""Test tools for code that calls KATO or Consul.

A real Consul agent or cluster, a stand-in for KATO, a proxy that injects faults, and a checker for
lost or duplicated observations. Needs the extra ``testing``
(``pip install 'kato-consul[testing]'``). A name is imported at its first use: the process of a
stand-in loads nothing of the rest.
"""

from typing import TYPE_CHECKING

from kato_consul._names_at_first_use import names_at_first_use

if TYPE_CHECKING:
    from kato_consul.testing.clock import ManualClock
    from kato_consul.testing.consul.agent import ConsulAgent, ConsulFailed
    from kato_consul.testing.consul.binary import ConsulNotFound, find_consul
    from kato_consul.testing.consul.cluster import ClusterAgent, ConsulCluster
    from kato_consul.testing.fault_plan import Fault, Plan, at_random, every
    from kato_consul.testing.fault_proxy import FaultProxy
    from kato_consul.testing.fleet import Fleet
    from kato_consul.testing.history import Call, Final, History, HistoryReport, check, read_session
    from kato_consul.testing.kato.instance import StandInKato, flush_sessions

__all__ = [
    "Call",
    "ClusterAgent",
    "ConsulAgent",
    "ConsulCluster",
    "ConsulFailed",
    "ConsulNotFound",
    "Fault",
    "FaultProxy",
    "Final",
    "Fleet",
    "History",
    "HistoryReport",
    "ManualClock",
    "Plan",
    "StandInKato",
    "at_random",
    "check",
    "every",
    "find_consul",
    "flush_sessions",
    "read_session",
]

_MODULES = {
    "kato_consul.testing.clock": ("ManualClock",),
    "kato_consul.testing.consul.agent": (
        "ConsulAgent",
        "ConsulFailed",
    ),
    "kato_consul.testing.consul.binary": (
        "ConsulNotFound",
        "find_consul",
    ),
    "kato_consul.testing.consul.cluster": (
        "ClusterAgent",
        "ConsulCluster",
    ),
    "kato_consul.testing.fault_plan": (
        "Fault",
        "Plan",
        "at_random",
        "every",
    ),
    "kato_consul.testing.fault_proxy": ("FaultProxy",),
    "kato_consul.testing.fleet": ("Fleet",),
    "kato_consul.testing.history": (
        "Call",
        "Final",
        "History",
        "HistoryReport",
        "check",
        "read_session",
    ),
    "kato_consul.testing.kato.instance": (
        "StandInKato",
        "flush_sessions",
    ),
}
"""The module of each public name, equal to the imports for type checkers above."""

__getattr__, __dir__ = names_at_first_use(__name__, _MODULES)
