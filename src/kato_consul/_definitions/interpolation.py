"""References in definitions: what the environment and secret files say, put where they stand.

| written            | becomes                                                    |
| ------------------ | ---------------------------------------------------------- |
| ``${NAME}``        | the environment variable; it has to be set                 |
| ``${NAME:-word}``  | the same, or ``word`` when it is not set, or empty          |
| ``${file:/path}``  | the content of the file, without the line break at its end |
| ``$$``             | one ``$``                                                  |

A file's content is taken for a secret: no mistake that is told of repeats it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)\})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class Expansion:
    """What became of one value. ``secret``: a file's content is in it."""

    changed: bool = False
    secret: bool = False
    mistakes: list[str] = field(default_factory=list)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def of(self, value: Any) -> Any:
        """The value with every reference in it replaced, in lists and tables too."""
        if isinstance(value, str):
            return _REFERENCE.sub(self._meant, value)
        if isinstance(value, list):
            return [self.of(one) for one in value]
        if isinstance(value, Mapping):
            return {key: self.of(one) for key, one in value.items()}
        return value

    def _meant(self, found: re.Match[str]) -> str:
        self.changed = True
        words = found[1]
        if words is None:
            return "$"
        if words.startswith("file:"):
            return self._content(words.removeprefix("file:"))
        name, _, default = words.partition(":-")
        if not _NAME.fullmatch(name):
            self.mistakes.append(
                f"${{{words}}}: write ${{NAME}}, ${{NAME:-word}} or ${{file:/path}}"
            )
            return ""
        text = self.environ.get(name, "")
        if ":-" in words:
            return text or default
        if name not in self.environ:
            self.mistakes.append(f"${{{name}}}: {name} is not set in the environment")
        return text

    def _content(self, path: str) -> str:
        self.secret = True
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            self.mistakes.append(f"${{file:{path}}}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.mistakes.append(f"${{file:{path}}}: is no text")
        return ""
