"""FIFO lock: acquired in the order of the requests, which `threading.Lock` does not promise."""

import threading
from collections import deque


class FifoLock:
    """A first-in, first-out lock. Use it as a context manager."""

    __slots__ = ("_held", "_mutex", "_waiting")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] | None = None  # 700 bytes: made when needed

    def __enter__(self) -> None:
        with self._mutex:
            if not self._held:
                self._held = True
                return
            mine = threading.Event()
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(mine)
        try:
            mine.wait()
        except BaseException:  # KeyboardInterrupt while waiting: leave the queue
            with self._mutex:
                if self._waiting and mine in self._waiting:
                    self._waiting.remove(mine)
                    raise
            self._release()
            raise

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # still held, by the next
            else:
                self._held = False
                self._waiting = None
