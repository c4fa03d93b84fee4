"""Selection of instances on an agent: by id, by file, or all of a service."""

from typing import Annotated

import typer

from kato_consul import (
    ConfigurationError,
    EventSink,
    ServiceDefinition,
    Settings,
)
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.definition_files import DefinitionFiles
from kato_consul.cli.output import print_status

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", hidden=True)]
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="An instance's id, the same as ID without --id. Repeatable.",
        show_default=False,
    ),
]
All = Annotated[bool, flag("--all", help="All instances of the service on this agent.")]
Node = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NODE",
        help="Remove them from the catalog, where this dead node has them.",
        show_default=False,
    ),
]


def select_instances(
    settings: Settings,
    ids: list[str],
    files: DefinitionFiles | None,
    *,
    all_: bool,
    on_event: EventSink,
    node: str | None = None,
) -> list[ServiceDefinition]:
    """Return the selected instances, each once; also for ids that the agent does not have.

    With ``node`` they are those of a node in the catalog, instead of the agent's.

    Raises:
        ConfigurationError: none of the ways to select was used, or several.
        ConsulError: the agent does not answer, or there is no such node.
    """
    from kato_consul import Registrar

    if [files is not None, bool(ids), all_].count(True) != 1:
        raise ConfigurationError("name the instances: either by id, or with -f FILE, or --all")
    if "" in ids:
        raise ConfigurationError("an id is empty")
    if node == "":
        raise ConfigurationError("--node is empty: name a node, such as those of 'instances'")
    if files is not None:
        return files.read(print_warnings=False)  # they are about registering
    registrar = Registrar([], settings, on_event=on_event)
    try:
        if all_:
            found = registrar.registered(node, settings.service)
            if not found:
                where = "this agent" if node is None else f"node {node}"
                print_status(f"{where} has no instance of {settings.service!r}")
            return found
        registered = {instance.id: instance for instance in registrar.registered(node)}
    finally:
        registrar.close()
    return [
        registered.get(service_id)
        or ServiceDefinition(name=settings.service, id=service_id, port=1)
        for service_id in dict.fromkeys(ids)
    ]
