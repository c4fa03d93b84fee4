"""Ctrl-C, SIGTERM and a closed terminal end a command in one way: as KeyboardInterrupt, once.

What a command cleans up then takes a moment, and impatience must not break it off: a second signal
is answered with words, a third one ends the process as it is.
"""

import signal
from types import FrameType

from kato_consul.cli.output import print_status

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_caught: list[int] = []


def interrupt_on_signals() -> None:
    """Let the first of `SIGNALS` raise KeyboardInterrupt.

    One that is ignored stays so: the shell ignores SIGINT for what runs in its background, nohup
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
        print_status("cleaning up already; once more breaks it off, and may leave something behind")
        return
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
