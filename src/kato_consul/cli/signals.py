"""Signal handling: Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt, once.

A command then cleans up, which takes a moment and must not be cut short by an impatient user. A
second signal only prints a message; a third one ends the process immediately.
"""

import signal
from types import FrameType

from kato_consul.cli.output import print_status

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_caught: list[int] = []


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on the first of `SIGNALS`.

    Signals that are ignored stay ignored: a shell ignores SIGINT for background jobs, and nohup
    ignores SIGHUP.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _caught.append(number)
    if len(_caught) == 1:
        raise KeyboardInterrupt
    if len(_caught) == 2:
        print_status(
            "already cleaning up; another signal aborts that and may leave instances behind"
        )
        return
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
