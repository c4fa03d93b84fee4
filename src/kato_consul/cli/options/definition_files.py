"""The definition files of a command: what they define, and whether they have changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kato_consul import ServiceDefinition
from kato_consul.cli.help_format import flag
from kato_consul.cli.output import print_status

STANDARD_INPUT = "-"

File = Annotated[
    list[str] | None,
    typer.Option(
        "-f",
        "--file",
        metavar="FILE",
        help="Definitions: TOML, or Consul's own .json or .hcl. A folder stands for all of these "
        "in it, - for standard input. Repeatable.",
        show_default=False,
    ),
]
Expand = Annotated[
    bool, flag("--expand", help="Replace ${NAME} and ${file:/path} in .json and .hcl, too.")
]

FileStamp = tuple[int, int, int]
"""Modification time (ns), size and inode, which change with a file: some editors replace it, others
write into it."""


@dataclass(frozen=True)
class DefinitionFiles:
    """The files, folders and standard input that a command was given with -f.

    ``expand``: references are replaced in Consul's own forms, too.
    """

    paths: tuple[str, ...]
    expand: bool = False

    def __str__(self) -> str:
        return ", ".join(self.paths)

    def read(self, *, print_warnings: bool = True) -> list[ServiceDefinition]:
        """Return what they define; warnings go to standard error.

        Raises:
            DefinitionError: with every mistake.
        """

        from kato_consul import read_definitions

        def on_warning(text: str) -> None:
            if print_warnings:
                print_status(f"warning: {text}")

        return read_definitions(*self.paths, expand=self.expand, on_warning=on_warning)

    def stamps(self) -> dict[str, FileStamp | None]:
        """Return the current stamp of each file, also of those in folders; None if it is missing.

        Standard input does not change.
        """
        from kato_consul import definition_files

        stamps: dict[str, FileStamp | None] = {}
        for path in self._on_disk:
            try:
                files = definition_files(path)
            except OSError:  # the folder cannot be read at the moment
                files = [Path(path)]
            stamps.update({str(file): _stamp(file) for file in files})
        return stamps

    def missing(self) -> set[str]:
        """Return the files and folders that do not exist."""
        return {path for path in self._on_disk if not Path(path).exists()}

    @property
    def _on_disk(self) -> list[str]:
        return [path for path in self.paths if path != STANDARD_INPUT]


def definition_files_option(paths: list[str] | None, *, expand: bool) -> DefinitionFiles | None:
    """Return the files that were given with -f; None if there are none."""
    return DefinitionFiles(tuple(paths), expand) if paths else None


def _stamp(file: Path) -> FileStamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
