"""Runs a Python block of a page as a program: ``python run_snippet.py FILE``.

A block may go on where an earlier one of its page ended: if it uses ``kato`` or ``session`` without
making them, they are a client and a session. ``await`` outside of a function is allowed, and then
the client is an async one.
"""

import ast
import asyncio
import inspect
import sys
import types
from pathlib import Path
from typing import Any

import kato_consul


def main(path: Path) -> None:
    """Run the block."""
    tree = ast.parse(path.read_text("utf-8"))
    code = compile(tree, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    made = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    missing = {name.id for name in names} & {"kato", "session"} - made
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(run_async(code, namespace, missing))
    elif missing:
        with kato_consul.KatoClient() as kato:
            add_names(namespace, kato, missing)
            exec(code, namespace)
    else:
        exec(code, namespace)


async def run_async(code: types.CodeType, namespace: dict[str, Any], missing: set[str]) -> None:
    """Run a block that awaits."""
    async with kato_consul.AsyncKatoClient() as kato:
        add_names(namespace, kato, missing)
        await eval(code, namespace)


def add_names(namespace: dict[str, Any], kato: Any, missing: set[str]) -> None:
    """Make the names that a block expects from an earlier one."""
    found = {"kato": kato, "session": kato.session("user-123")}
    namespace.update({name: found[name] for name in missing})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
