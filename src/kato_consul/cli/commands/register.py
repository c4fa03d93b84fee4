"""``register``: registers instances and exits, for startup jobs."""

from kato_consul.cli.commands.registrar import job_registrar
from kato_consul.cli.options.instance_options import instance_options
from kato_consul.cli.options.job_options import JobOptions
from kato_consul.cli.signals import interrupt_on_signals


@instance_options
def register(options: JobOptions) -> None:
    """Register instances, wait until they are passing, and exit.

    For startup jobs. Registers all instances or none: if one is refused or is
    not passing in time, or on Ctrl-C, it deregisters those that it added.
    Registering an instance again is harmless.

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

    Without a check, or with a probe, the agent sends KATO requests that need
    its store, because /health returns 200 without it. run and exec also
    detect a full store. A plain check = { http = "http://…", interval = "10s" },
    or tcp, replaces the probe. If the file has both, both are used.
    """
    interrupt_on_signals()
    with job_registrar(options) as registrar:
        registrar.register()
