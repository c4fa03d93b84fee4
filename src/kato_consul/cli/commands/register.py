"""``register``: the startup job."""

from kato_consul.cli.commands.registrar import registrar_for
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.signals import interrupt_on_signals


@instance_options
def register(asked: JobOptions) -> None:
    """Register instances, wait until Consul says passing, and exit.

    For startup jobs. All are registered or none: when one is refused, or is
    not passing in time, or on Ctrl-C, what this run put in is taken out
    again. Registering what is registered already is harmless.

      kato-consul register -f kato.toml

      kato-consul register --name kato --id kato-1 \\
          --address 10.0.0.5 --port 8000

    A file has one such table for each instance:

      \\[\\[service]]
      name = "kato"
      port = 8000
      id = "kato-1"             [dim]# default: name-port[/dim]
      address = "10.0.0.5"      [dim]# default: that of the agent's node[/dim]
      tags = \\["blue"]
      meta = { team = "search" }
      zone = "a"
      probe = { interval = "5s", timeout = "5s", slow = "1s" }

    Without a check, or with a probe, Consul itself asks KATO for something
    that needs its store, since /health stays green without it; run and exec
    look closer. A plain check = { http = "http://…", interval = "10s" }, or
    tcp, stands instead of that, or beside it.
    """
    interrupt_on_signals()
    with registrar_for(asked, then="and waiting") as registrar:
        registrar.register()
