"""``deregister``: take instances out."""

from pathlib import Path
from typing import Annotated

import typer

from kato_consul.cli.exits import exiting
from kato_consul.cli.options import Consul, no_answer_yet, settings
from kato_consul.cli.output import said_when_slow, tell, timed
from kato_consul.drivers.sync.registrar import Registrar
from kato_consul.errors import ConfigurationError
from kato_consul.registry.definition import ServiceDefinition
from kato_consul.registry.reading import read_definitions

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", hidden=True),
]
IdOption = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="The same; may be given again.", show_default=False),
]
File = Annotated[
    Path | None,
    typer.Option(
        "-f", "--file", metavar="FILE", help="All that this file defines.", show_default=False
    ),
]


def deregister(
    ids: Ids = None,
    id: IdOption = None,  # noqa: A002 - the option is called --id
    file: File = None,
    consul: Consul = None,
) -> None:
    """Take instances out of Consul.

    One that the agent does not have is as good as taken out. Ask the agent
    that the instances were registered with: it is the one that has them.

      kato-consul deregister kato-1 kato-2

      kato-consul deregister -f kato.toml
    """
    with exiting():
        wanted = [*(ids or ()), *(id or ())]
        if (file is None) == (not wanted):
            raise ConfigurationError("say which instances: either their ids, or -f FILE")
        if "" in wanted:
            raise ConfigurationError("an id is empty")
        if file is not None:
            definitions = read_definitions(file)
        else:
            # Only the ids count when taking out; each once.
            definitions = [
                ServiceDefinition(name="any", id=one, port=1) for one in dict.fromkeys(wanted)
            ]
        asked = settings(consul)
        with said_when_slow(no_answer_yet(asked)) as answered:

            def heard(who: str, what: str) -> None:
                answered()
                tell(timed(who, what))

            registrar = Registrar(definitions, asked, say=heard)
            try:
                registrar.deregister()
            finally:
                registrar.close()
