"""Public names of a package that are imported at their first use (PEP 562)."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def names_at_first_use(
    package: str, modules: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        modules: The names in each module. A name may also be that of a submodule.
    """
    contents = vars(sys.modules[package])
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module), name, None)
        if value is None:
            value = import_module(f"{module}.{name}")
        contents[name] = value  # it is not asked for again
        return value

    def names() -> list[str]:
        return sorted({*contents, *module_of})

    return get, names
