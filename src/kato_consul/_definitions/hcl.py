"""HCL: reads Consul's configuration language as plain values.

The parser is python-hcl2's, for HCL 2. Consul reads HCL 1 (https://github.com/hashicorp/hcl/tree/hcl1),
which has no expressions, and is written differently in some points: ``${…}`` in a string is text,
the names of attributes may be quoted, and commas may separate attributes; in ``{…}`` behind a ``=``
they need not, and there may be blocks. `_as_hcl2` rewrites them, line by line the same, so that the
lines of mistakes are the file's own.
"""

import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Token, Tree

    Node = Tree[Token]

_PART = re.compile(
    r"""
      (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<heredoc> <<-?(?P<marker>\w+)\r?\n.*?^[ \t]*(?P=marker)\r?$ )
    | (?P<string>  "(?: \$\{[^}\n]*\} | \\. | [^"\\\n] )*" )
    | (?P<word>    [\w.+-]+ )
    | (?P<sign>    \S )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(r'"([A-Za-z_][A-Za-z0-9_-]*)"')
_AFTER_NAME = re.compile(r"\s*[={]")
_BLOCK, _OBJECT, _LIST = "block", "object", "list"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"',
}  # fmt: skip

_GUARD = "\0"
"""Put between ``$`` and ``{``, so that the parser takes both as text. Removed again."""


def parse_hcl(text: str) -> dict[str, Any]:
    """Parse a document. Blocks are lists of dicts, since each may be written several times.

    Raises:
        ValueError: it is not HCL, or has more than plain values; the message has the line.
        ImportError: python-hcl2 is not installed.
    """
    import hcl2
    from lark.exceptions import UnexpectedInput

    if _GUARD in text:
        raise _mistake(text.count("\n", 0, text.index(_GUARD)) + 1, "a NUL is not allowed")
    try:
        tree = hcl2.parses_to_tree(_as_hcl2(text))
    except UnexpectedInput as error:
        line = min(max(error.line, 1), text.count("\n") + 1)  # -1 or one more at the end
        raise _mistake(line, _found(error)) from error
    (body,) = _nodes(tree)
    return _body(body)


def _found(error: Any) -> str:
    token = getattr(error, "token", None)
    if token is None or token.type == "$END":
        return "the text ends here, in the middle of a block or an attribute"
    # Only one character is repeated: what follows may be a secret whose quotes are missing.
    first = str(token).strip(" \t")[:1]
    return "the line ends too early" if first in ("", "\n") else f"{first!r} is not expected here"


def _mistake(line: int, text: str) -> ValueError:
    return ValueError(f"line {line}: {text}")


# --- HCL 1 ----------------------------------------------------------------------------------


def _as_hcl2(text: str) -> str:
    open_: list[str] = []
    """For each open brace and bracket, what it begins: a block, an object or a list."""
    parts, end = [], 0
    before, before_that = "", ""  # the last two signs, or kinds of parts
    for match in _PART.finditer(text):
        part, kind = match[0], match.lastgroup
        in_block = not open_ or open_[-1] == _BLOCK
        in_object = not in_block and open_[-1] == _OBJECT
        if kind == "sign":
            if part == '"':
                line = text.count("\n", 0, match.start()) + 1
                raise _mistake(line, "a string does not end on its line")
            if part in "{[":
                is_block = in_block and before != "="
                open_.append(_LIST if part == "[" else _BLOCK if is_block else _OBJECT)
                if in_object and before in ("word", "string"):
                    part = f"= {part}"
            elif part in "}]" and open_:
                open_.pop()
            elif part == "," and in_block:
                part = " "
        elif kind == "string":
            name = _NAME.fullmatch(part)
            is_label = before in ("word", "string") and before_that != "="
            is_name = _AFTER_NAME.match(text, match.end()) and not is_label
            part = f" {name[1]} " if name and in_block and is_name else _guarded(part)
        if in_object and kind in ("word", "string") and _AFTER_NAME.match(text, match.end()):
            on_this_line = "\n" not in text[end : match.start()]
            part = f", {part}" if on_this_line and before not in ("{", ",") else part
        if kind != "comment":
            before, before_that = match[0] if kind == "sign" else str(kind), before
        parts += [text[end : match.start()], part]
        end = match.end()
    return "".join([*parts, text[end:]])


def _guarded(string: str) -> str:
    """Return a string without templates; quotes within ``${…}`` are escaped."""
    inner = re.sub(
        r"\$\{[^}\n]*\}", lambda match: re.sub(r'(?<!\\)"', r'\\"', match[0]), string[1:-1]
    )
    return '"' + re.sub(r"([$%])\{", rf"\1{_GUARD}{{", inner) + '"'


# --- values ---------------------------------------------------------------------------------


def _body(body: "Node") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in _nodes(body):
        if item.data == "attribute":
            name, value = _nodes(item)
            _set(values, _word(name), _value(value), name)
        elif item.data == "block":
            name, *labels, content = _nodes(item)
            nested: Any = _body(content)
            for label in reversed(labels):
                nested = {_word(label): [nested]}
            others = values.setdefault(_word(name), [])
            if not isinstance(others, list):
                raise _mistake(_line(name), f"{_word(name)} is given a second time")
            others.append(nested)
    return values


def _value(node: "Node") -> Any:
    while node.data == "expr_term" and len(node.children) == 1:
        (node,) = _nodes(node)
    convert = _VALUES.get(node.data)
    if convert is None:
        raise _expression(node)
    return convert(node)


def _expression(node: "Node") -> ValueError:
    return _mistake(
        _line(node), "expressions are not supported: write a string, a number, true or false"
    )


def _object(node: "Node") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for element in _nodes(node):
        if element.data == "object_elem":
            key, value = _nodes(element)
            (name,) = _nodes(key)
            _set(values, _word(name), _value(value), name)
    return values


def _word(node: "Node") -> str:
    """Return a name, which may be quoted."""
    if node.data == "string":
        return _string(node)
    nodes = list(_nodes(node))
    return _word(nodes[0]) if nodes else str(node.children[0])


def _string(node: "Node") -> str:
    text = "".join(str(part.children[0]) for part in _nodes(node)).replace(_GUARD, "")

    def replacement(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None and match[3] not in _ESCAPES:
            raise _mistake(_line(node), f"{match[0]} is not known in a string: write \\{match[0]}")
        number = int(code, 16) if code else 0
        if 0xD800 <= number < 0xE000 or number > sys.maxunicode:
            raise _mistake(_line(node), f"{match[0]} is not a character")
        return chr(number) if code else _ESCAPES[match[3]]

    return _ESCAPE.sub(replacement, text)


def _heredoc(node: "Node") -> str:
    *lines, closing = _heredoc_lines(node)
    return "".join(f"{line}\n" for line in lines) + _indentation(closing)


def _indented_heredoc(node: "Node") -> str:
    """Return the lines without the indentation of the closing marker, if all of them have it."""
    *lines, closing = _heredoc_lines(node)
    indent = _indentation(closing)
    if all(line.startswith(indent) for line in lines):
        lines = [line.removeprefix(indent) for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _heredoc_lines(node: "Node") -> list[str]:
    """Return the lines after the opening marker, with the closing one."""
    return str(node.children[0]).rstrip("\r\n").replace("\r\n", "\n").split("\n")[1:]


def _integer(node: "Node") -> int:
    digits = str(node.children[0])
    if digits.lstrip("-").startswith("0") and digits != "0":
        raise _mistake(_line(node), f"{digits}: write the number without zeros before it")
    return int(digits)


def _negative(node: "Node") -> Any:
    (term,) = _nodes(node)
    (number,) = _nodes(term)
    if str(node.children[0]) != "-" or number.data not in ("int_lit", "float_lit"):
        raise _expression(node)
    return -_value(number)


_VALUES: dict[str, Callable[["Node"], Any]] = {
    "string": _string,
    "heredoc_template": _heredoc,
    "heredoc_template_trim": _indented_heredoc,
    "int_lit": _integer,
    "float_lit": lambda node: float(str(node.children[0])),
    "literal_value": lambda node: {"true": True, "false": False}.get(str(node.children[0])),
    "tuple": lambda node: [_value(item) for item in _nodes(node)],
    "object": _object,
    "unary_op": _negative,
}


def _set(values: dict[str, Any], name: str, value: Any, node: "Node") -> None:
    if name in values:
        raise _mistake(_line(node), f"{name} is given a second time")
    values[name] = value


def _nodes(node: "Node") -> Iterator[Any]:
    """Yield the children that are no tokens and no comments."""
    children: list[Any] = node.children
    for child in children:
        if hasattr(child, "children") and child.data != "new_line_or_comment":
            yield child


def _line(node: "Node") -> int:
    return getattr(node.meta, "line", 0)
