"""Types that msgspec decodes are made ready at import, and not by the calls of threads.

msgspec (0.22) makes a type ready at its first use; a second thread that uses the type meanwhile
reads what is not there yet, and the process ends with a segmentation fault.
"""

import ast
import subprocess
import sys
from pathlib import Path

import kato_consul

ROOT = Path(kato_consul.__file__).parent

CONVERTED = {
    "_definitions/decoder.py": "the types of fields, which have no fields themselves",
    "_kato/decoding.py": "a shape: response_shapes.py makes them ready",
    "proxy/session_calls.py": "a type that has a decoder",
}
"""Where `msgspec.convert` is used, and with what."""

FIRST_USES = """
import importlib, sys, threading, msgspec
from kato_consul._kato import response_shapes as shapes

sys.setswitchinterval(1e-6)
answer = {"session_id": "s", "session_config": {"max_pattern_length": 1, "stm_mode": "ROLLING"}}
for _ in range(2000):
    kind = importlib.reload(shapes).CreatedSession
    together = threading.Barrier(3)

    def use():
        together.wait()
        msgspec.convert(answer, kind)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
"""


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Return all calls of a function of msgspec, each with its file."""
    return [
        (path.relative_to(ROOT).as_posix(), node)
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"msgspec.{name}"
    ]


def test_no_call_makes_a_type_ready() -> None:
    """`msgspec.json.decode` gets no type: a decoder in the module that defines it has one."""
    assert calls("json.decode")
    typed = [(path, one.lineno) for path, one in calls("json.decode") if one.keywords]
    assert typed == []
    assert {path for path, _ in calls("convert")} == set(CONVERTED)


def test_threads_that_use_a_shape_first() -> None:
    """Threads that are the first to use a shape, all at once, do not end the process."""
    subprocess.run([sys.executable, "-c", FIRST_USES], check=True, timeout=180)
