"""Interrupts: raises KeyboardInterrupt before the n-th instruction that a block executes.

Real signals are handled between instructions too, but only at some of them: after this, none is
left where one could do harm.
"""

import gc
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import kato_consul

PACKAGE = Path(kato_consul.__file__).parent


class InterruptAt:
    """Raises KeyboardInterrupt, once, before instruction ``number`` (from 1) of the code in the
    given files and folders of the package. Only the thread that enters the block is interrupted."""

    def __init__(self, number: int, *places: str) -> None:
        self._number = number
        self._places = tuple(str(PACKAGE / place) for place in places)
        self._count = 0
        self._before: Any = None

    @property
    def raised(self) -> bool:
        """True if the block had so many instructions."""
        return self._count >= self._number

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        gc.disable()  # an exception in a finalizer that the collector calls is lost
        sys.settrace(self._trace_call)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        sys.settrace(self._before)
        gc.enable()
        return kind is KeyboardInterrupt

    def _trace_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._places):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace_instruction

    def _trace_instruction(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self._count += 1
            if self._count == self._number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace_instruction
