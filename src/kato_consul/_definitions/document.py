"""Documents: definition files and standard input, read and parsed in each of the three forms."""

import functools
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kato_consul._definitions.hcl import parse_hcl
from kato_consul.errors import DefinitionError

STANDARD_INPUT = "-"


class Form(StrEnum):
    """The form of a document: this package's TOML, or one of Consul's own."""

    TOML = "TOML"
    JSON = "JSON"
    HCL = "HCL"


@dataclass(frozen=True)
class Document:
    """A parsed document.

    Attributes:
        content: what it was parsed to.
        form: its form.
        location: first part of each mistake in it, such as the file's name.
    """

    content: Any
    form: Form
    location: str


_FORM_OF_SUFFIX = {f".{form.lower()}": form for form in Form}


def definition_files(*paths: Path | str) -> list[Path]:
    """Return the files that `read_definitions` reads for these paths.

    Args:
        paths: files, which need not exist, and folders. A folder stands for every ``.toml``,
            ``.json`` and ``.hcl`` file in it, by name, without its own folders and without files
            whose names begin with a dot. ``-`` is standard input and no file.
    """
    files: list[Path] = []
    for path in map(Path, (one for one in paths if str(one) != STANDARD_INPUT)):
        if not path.is_dir():
            files.append(path)
            continue
        files += sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in _FORM_OF_SUFFIX
            and not file.name.startswith(".")
            and not file.is_dir()
        )
    return files


def read_documents(paths: Iterable[Path | str], mistakes: list[str]) -> Iterator[Document]:
    """Yield each document that could be parsed; append what is wrong with the others."""
    for path in paths:
        if str(path) == "":  # not the current folder: a variable that is not set
            mistakes.append("the name of a definition file is empty")
            continue
        try:
            files = definition_files(path) if str(path) != STANDARD_INPUT else [STANDARD_INPUT]
        except OSError as error:
            mistakes.append(f"{path}: cannot be read: {error.strerror}")
            continue
        if not files:
            mistakes.append(
                f"{path}: cannot be read: Is a directory without a .toml, .json or .hcl file"
            )
        for file in files:
            try:
                yield _read(file)
            except OSError as error:
                mistakes.append(f"{file}: cannot be read: {error.strerror}")
            except DefinitionError as error:
                mistakes += error.mistakes


def _read(file: Path | str) -> Document:
    if isinstance(file, str):
        return _parse(_standard_input(sys.stdin), "standard input", None)
    return _parse(file.read_bytes(), str(file), _FORM_OF_SUFFIX.get(file.suffix.lower()))


@functools.lru_cache(maxsize=1)
def _standard_input(stream: Any) -> bytes:
    """Return all of it. It can be read only once, so a later read of the definitions gets the same
    text."""
    content: bytes | str = b"" if stream is None else getattr(stream, "buffer", stream).read()
    return content.encode() if isinstance(content, str) else content


def _parse(content: bytes, location: str, form: Form | None) -> Document:
    """Parse a document. Without a ``form`` it is detected.

    Raises:
        DefinitionError: with what is wrong with it.
    """
    text = _decode(content, location, form)
    detected = _detect(text)
    form = form or detected
    try:
        return Document(_PARSERS[form](text), form, location)
    except ImportError as error:
        raise DefinitionError(
            [f"{location}: HCL needs python-hcl2: pip install 'kato-consul[hcl]'"]
        ) from error
    except RecursionError as error:
        raise DefinitionError([f"{location}: is nested too deeply"]) from error
    except ValueError as error:
        hint = ""
        if detected not in (form, Form.TOML):
            hint = f"; it looks like {detected}: then its name must end in .{detected.lower()}"
        raise DefinitionError([f"{location}: is not valid {form}: {error}{hint}"]) from error


def _decode(content: bytes, location: str, form: Form | None) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        why: object = error
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            why = "it is UTF-16 with a byte order mark (BOM): save it as UTF-8"
        kind = form or "text"
        raise DefinitionError([f"{location}: is not valid {kind}: {why}"]) from error
    if text.startswith("\ufeff"):
        raise DefinitionError(
            [f"{location}: begins with a byte order mark (BOM): save it as UTF-8 without one"]
        )
    return text.replace("\r\n", "\n")


_COMMENTS = re.compile(r"(?:\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_HCL_START = re.compile(r'(?:"?services"?\s*[={]|(?:"\w+"|\w+)\s*(?:\{|=\s*\{\s*\n))')
"""A block, what TOML would write as ``[[service]]``, or a table of several lines."""


def _detect(text: str) -> Form:
    """Return the form that a document seems to have; TOML if it could be that."""
    comments = _COMMENTS.match(text)
    start = comments.end() if comments else 0
    if text.startswith("{", start):
        return Form.JSON
    has_hcl_comment = re.match(r"\s*(?://|/\*)", text)
    return Form.HCL if has_hcl_comment or _HCL_START.match(text, start) else Form.TOML


# --- parsers --------------------------------------------------------------------------------


def _parse_json(text: str) -> Any:
    try:
        document = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        position = error.pos
        if re.match(r"\s*(?://|#|/\*|[}\]])", text[position:]) or "trailing comma" in error.msg:
            raise ValueError(
                f"{error}: JSON has neither comments nor trailing commas; Consul's HCL has both"
            ) from error
        raise
    # A single surrogate is no character: it would be registered as another one.
    json.dumps(document, ensure_ascii=False).encode()
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice in one object")
    return table


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _parse_hcl(text: str) -> Any:
    # As Consul does: an HCL file may contain JSON.
    return _parse_json(text) if text.lstrip().startswith("{") else parse_hcl(text)


_PARSERS: dict[Form, Callable[[str], Any]] = {
    Form.TOML: tomllib.loads,
    Form.JSON: _parse_json,
    Form.HCL: _parse_hcl,
}
