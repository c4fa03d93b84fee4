"""How many bytecode instructions something takes: the same number each time, on any machine.

What C does within one instruction is not seen. Time is `python -m benchmarks`' business.
"""

import contextlib
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any


@dataclass
class Count:
    """So many instructions, once it is over."""

    instructions: int = 0


@contextlib.contextmanager
def counting() -> Iterator[Count]:
    """Count the instructions of this thread, in whatever functions are called within the block."""
    count = Count()
    collects = gc.isenabled()
    gc.disable()  # or somebody else's finalizers would be counted
    try:
        with _events(count):
            yield count
    finally:
        if collects:
            gc.enable()


if sys.version_info >= (3, 12):
    TOOL = 4  # no debugger's, profiler's or coverage's

    @contextlib.contextmanager
    def _events(count: Count) -> Iterator[None]:
        def one(code: CodeType, offset: int) -> None:
            count.instructions += 1

        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL, "kato-consul guard")
        monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, one)
        monitoring.set_events(TOOL, monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            monitoring.set_events(TOOL, monitoring.events.NO_EVENTS)
            monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(TOOL)

else:

    @contextlib.contextmanager
    def _events(count: Count) -> Iterator[None]:
        def one(frame: FrameType, event: str, value: Any) -> Any:
            if event == "opcode":
                count.instructions += 1
            return one

        def begins(frame: FrameType, event: str, value: Any) -> Any:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return one

        before = sys.gettrace()
        sys.settrace(begins)
        try:
            yield
        finally:
            sys.settrace(before)
