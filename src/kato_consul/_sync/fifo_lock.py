"""FIFO lock: threads acquire it in the order of arrival, unlike `threading.Lock`."""

import threading
from collections import deque


class FifoLock:
    """A first-in, first-out lock. Use it as a context manager."""

    __slots__ = ("_held", "_mutex", "_waiting")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] | None = (
            None  # 700 bytes, so created only when needed
        )

    def __enter__(self) -> None:
        with self._mutex:
            if not self._held:
                self._held = True
                return
            turn = threading.Event()
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:  # KeyboardInterrupt while waiting: leave the queue
            with self._mutex:
                if self._waiting and turn in self._waiting:
                    self._waiting.remove(turn)
                    raise
            self._release()  # it was acquired just before the interrupt
            raise

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # still held, now by the next thread
            else:
                self._held = False
                self._waiting = None
