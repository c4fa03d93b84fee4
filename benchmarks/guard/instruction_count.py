"""Bytecode instruction counts: the same number in each run and on any machine.

C code within one instruction is not counted. ``python -m benchmarks`` measures time instead.
"""

import contextlib
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any


@dataclass
class InstructionCount:
    """The number of instructions; complete when the block of `count_instructions` ends."""

    instructions: int = 0


@contextlib.contextmanager
def count_instructions() -> Iterator[InstructionCount]:
    """Count the instructions of this thread within the block, in all functions it calls."""
    count = InstructionCount()
    gc_enabled = gc.isenabled()
    gc.disable()  # finalizers of unrelated objects would be counted
    try:
        with _counting_into(count):
            yield count
    finally:
        if gc_enabled:
            gc.enable()


if sys.version_info >= (3, 12):
    TOOL_ID = 4  # not reserved for debuggers, coverage or profilers

    @contextlib.contextmanager
    def _counting_into(count: InstructionCount) -> Iterator[None]:
        def on_instruction(code: CodeType, offset: int) -> None:
            count.instructions += 1

        monitoring = sys.monitoring
        monitoring.use_tool_id(TOOL_ID, "kato-consul guard")
        monitoring.register_callback(TOOL_ID, monitoring.events.INSTRUCTION, on_instruction)
        monitoring.set_events(TOOL_ID, monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            monitoring.set_events(TOOL_ID, monitoring.events.NO_EVENTS)
            monitoring.register_callback(TOOL_ID, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(TOOL_ID)

else:

    @contextlib.contextmanager
    def _counting_into(count: InstructionCount) -> Iterator[None]:
        def on_event(frame: FrameType, event: str, value: Any) -> Any:
            if event == "opcode":
                count.instructions += 1
            return on_event

        def on_call(frame: FrameType, event: str, value: Any) -> Any:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return on_event

        before = sys.gettrace()
        sys.settrace(on_call)
        try:
            yield
        finally:
            sys.settrace(before)
