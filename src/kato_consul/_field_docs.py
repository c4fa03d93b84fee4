"""Field docs: the texts below the fields of a class, which Python itself does not keep.

They stand beside the field that they describe. `help()` and the settings page are made from them,
so that each is written once.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any, NamedTuple


class FieldDoc(NamedTuple):
    """A field: its name, type and default as they are written, its variable, and its text.

    ``variable`` is the environment variable that sets it, or "".
    """

    name: str
    type: str
    default: str
    variable: str
    text: str


def field_docs(cls: type[Any]) -> list[FieldDoc]:
    """Return the fields of a class that have a text below them, read from its source.

    Raises:
        OSError: there is no source, as in a frozen application.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    return [
        _field_doc(field, inspect.cleandoc(text.value.value))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    ]


def _field_doc(field: ast.AnnAssign, text: str) -> FieldDoc:
    value, variable, default = field.value, "", ""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "from_environment":
        variable = ast.literal_eval(value.args[0])
        value = value.args[2]
    if isinstance(value, ast.Call):  # field(default_factory=dict)
        (factory,) = (one.value for one in value.keywords if one.arg == "default_factory")
        default = f"{ast.unparse(factory)}()"
    elif value is not None:
        default = ast.unparse(value)
    name, kind = ast.unparse(field.target), ast.unparse(field.annotation)
    return FieldDoc(name, kind, default, variable, text)


class DocWithFields:
    """Docstring of a class with the texts of its fields, made when it is read, as by `help()`.

    Reading the source takes milliseconds, which an import need not pay.
    """

    def __init__(self, doc: str | None) -> None:
        self._doc = inspect.cleandoc(doc or "")

    def __get__(self, instance: object, owner: type[Any]) -> str:
        try:
            fields = field_docs(owner)
        except (OSError, TypeError):
            return self._doc
        lines = [self._doc, "", "Attributes:"]
        for field in fields:
            lines.append(f"    {field.name}: {field.type} = {field.default}")
            lines.append(textwrap.indent(field.text, " " * 8))
        return "\n".join(lines)
