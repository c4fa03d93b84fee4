"""Interpolation: replaces references in definitions by the environment and by secret files.

| reference          | replacement                                              |
| ------------------ | -------------------------------------------------------- |
| ``${NAME}``        | the environment variable, which must be set              |
| ``${NAME:-word}``  | the same, or ``word`` if it is not set or empty          |
| ``${file:/path}``  | the file's content, without the line break at its end    |
| ``$$``             | one ``$``                                                |

The content of a file is treated as a secret: no mistake repeats it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)\})")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Interpolation:
    """Interpolates one value and records what it met.

    Attributes:
        changed: a reference was replaced.
        secret: the content of a file was inserted.
        mistakes: one message for each reference that could not be replaced.
        environ: the environment variables.
    """

    changed: bool = False
    secret: bool = False
    mistakes: list[str] = field(default_factory=list)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def apply(self, value: Any) -> Any:
        """Return the value with all references replaced, also inside lists and tables."""
        if isinstance(value, str):
            return _REFERENCE.sub(self._replacement, value)
        if isinstance(value, list):
            return [self.apply(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self.apply(item) for key, item in value.items()}
        return value

    def _replacement(self, match: re.Match[str]) -> str:
        self.changed = True
        reference = match[1]
        if reference is None:
            return "$"
        if reference.startswith("file:"):
            return self._read_file(reference.removeprefix("file:"))
        name, _, default = reference.partition(":-")
        if not _VARIABLE_NAME.fullmatch(name):
            self.mistakes.append(
                f"${{{reference}}}: write ${{NAME}}, ${{NAME:-word}} or ${{file:/path}}"
            )
            return ""
        text = self.environ.get(name, "")
        if ":-" in reference:
            return text or default
        if name not in self.environ:
            self.mistakes.append(f"${{{name}}}: {name} is not set in the environment")
        return text

    def _read_file(self, path: str) -> str:
        self.secret = True
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            self.mistakes.append(f"${{file:{path}}}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.mistakes.append(f"${{file:{path}}}: is not UTF-8 text")
        return ""
