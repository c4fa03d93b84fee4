"""Which instances of an agent a command is about: by id, by file, or all of a service."""

from pathlib import Path
from typing import Annotated

import typer

from kato_consul._definitions.loader import read_definitions
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._registration.events import EventSink
from kato_consul._sync.registrar import Registrar
from kato_consul.cli.help_format import flag
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", hidden=True)]
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="An instance's id, as without --id; may be given again.",
        show_default=False,
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "-f", "--file", metavar="FILE", help="All that this file defines.", show_default=False
    ),
]
All = Annotated[bool, flag("--all", help="All of the service that this agent has.")]


def select_instances(
    asked: Settings, ids: list[str], file: Path | None, *, all_: bool, on_event: EventSink
) -> list[ServiceDefinition]:
    """The instances, each once. An id that the agent does not have is among them all the same.

    Raises:
        ConfigurationError: none of the ways was chosen, or several.
        ConsulError: the agent does not answer.
    """
    if [file is not None, bool(ids), all_].count(True) != 1:
        raise ConfigurationError("say which instances: either their ids, or -f FILE, or --all")
    if "" in ids:
        raise ConfigurationError("an id is empty")
    if file is not None:
        return read_definitions(file)
    registrar = Registrar([], asked, on_event=on_event)
    try:
        standing = {one.id: one for one in registrar.registered()}
    finally:
        registrar.close()
    if all_:
        return [one for one in standing.values() if one.name == asked.service]
    return [
        standing.get(one) or ServiceDefinition(name=asked.service, id=one, port=1)
        for one in dict.fromkeys(ids)
    ]
