"""A stand-in for KATO: its HTTP session API with its vices, for tests and demonstrations.

It answers what a real KATO 3.10.1 was seen to answer, and loses what a real one loses. See
`StandInKato` for a process of it, `kato_consul.testing.kato.serve` for the command.
"""

from kato_consul.testing.kato.instance import StandInKato, flush_sessions

__all__ = ["StandInKato", "flush_sessions"]
