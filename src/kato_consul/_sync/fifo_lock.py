"""A lock that is given in the order it was asked for. `threading.Lock` promises no order."""

import threading
from collections import deque
from types import TracebackType


class FifoLock:
    """First in, first out: whoever waits longest is next. Use as a context manager."""

    __slots__ = ("_mutex", "_taken", "_waiting")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] | None = None  # 700 bytes, which few sessions need

    def __enter__(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(mine)
        try:
            mine.wait()
        except BaseException:  # Ctrl-C while waiting: give the place in the queue away
            with self._mutex:
                if self._waiting and mine in self._waiting:
                    self._waiting.remove(mine)
                    raise
            self._pass_on()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # still taken, by the next
            else:
                self._taken = False
                self._waiting = None
