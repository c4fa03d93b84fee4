"""Limits of connections: those that all have in common, and how long a caller reads nothing."""

from dataclasses import dataclass, field

from kato_consul.proxy.server.measuring import Meter


@dataclass
class ConnectionLimits:
    """What the connections of a server have in common.

    ``idle_within``, ``head_within``, ``body_within`` and ``send_within`` are seconds, as in
    `ServerOptions`. ``leaving``: each response ends its connection. ``draining``: no
    WebSocket is opened any more, since those that are open have been closed.
    """

    max_connections: int
    idle_within: float
    head_within: float
    body_within: float
    send_within: float
    meter: Meter
    leaving: bool = field(default=False, init=False)
    draining: bool = field(default=False, init=False)


class Reader:
    """What is known of a caller that reads its answers, or does not."""

    def __init__(self) -> None:
        self._waiting = 0
        self._read_at = 0.0

    def seconds_without_reading(self, now: float, waiting: int) -> float:
        """Return for how long the caller has read nothing, as of the last calls.

        Args:
            now: the time.
            waiting: bytes that the kernel does not take, since the caller does not.
        """
        if not waiting or not self._waiting or waiting < self._waiting:
            self._read_at = now
        self._waiting = waiting
        return now - self._read_at
