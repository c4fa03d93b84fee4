"""``deregister``: deregisters instances."""

from kato_consul.cli.event_output import event_sink
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.options.common import Consul, Service, settings_from
from kato_consul.cli.options.definition_files import Expand, File, definition_files_option
from kato_consul.cli.options.instance_options import JsonLines
from kato_consul.cli.options.instance_selection import (
    All,
    IdOption,
    Ids,
    Node,
    select_instances,
)
from kato_consul.cli.output import status_if_slow


def deregister(
    ids: Ids = None,
    id: IdOption = None,  # noqa: A002 - the option is called --id
    file: File = None,
    expand: Expand = False,
    all_: All = False,
    node: Node = None,
    service: Service = None,
    consul: Consul = None,
    json_: JsonLines = False,
) -> None:
    """Deregister instances.

    An instance that no node has counts as deregistered. Use the agent that the
    instances were registered with: others do not have them. If that agent is
    dead, remove them with --node. Exits with 1 if an instance is on another
    node, or if a registrar that runs registers it again, and prints what to do.

      kato-consul deregister kato-1 kato-2

      kato-consul deregister -f kato.toml

      kato-consul deregister --all

      kato-consul deregister kato-9 --node box-gone

      kato-consul deregister --all --node box-gone
    """
    with exit_on_error():
        from kato_consul import Registrar

        settings = settings_from(consul, service)
        files = definition_files_option(file, expand=expand)
        on_event = event_sink(as_json=json_)
        with status_if_slow(f"Consul at {settings.consul_address}"):
            definitions = select_instances(
                settings,
                [*(ids or ()), *(id or ())],
                files,
                all_=all_,
                on_event=on_event,
                node=node,
            )
            registrar = Registrar(definitions, settings, on_event=on_event)
            try:
                registrar.remove(node)
            finally:
                registrar.close()
