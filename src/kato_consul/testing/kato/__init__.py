"""Stand-in for KATO: its HTTP session API with its faults, for tests and demonstrations.

It returns the responses recorded from a real KATO 3.10.1, and loses observations under the same
conditions. `StandInKato` runs it as a process; `kato_consul.testing.kato.serve` is the command.
"""

from kato_consul.testing.kato.instance import StandInKato, flush_sessions

__all__ = ["StandInKato", "flush_sessions"]
