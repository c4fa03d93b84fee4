"""``register`` and ``run``: the registrar."""

from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul.cli.about import about_instances
from kato_consul.cli.asked import Asked
from kato_consul.cli.options import no_answer_yet
from kato_consul.cli.output import said_when_slow, tell, timed
from kato_consul.cli.signals import interrupt_on_signals
from kato_consul.drivers.sync.registrar import Registrar


@about_instances
def register(asked: Asked) -> None:
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
      meta = { zone = "a" }
      check = { interval = "10s", timeout = "5s" }

    A check may also have http (a URL), tcp (host:port), name,
    success_before_passing, failures_before_critical and
    deregister_critical_service_after.
    """
    interrupt_on_signals()
    with _registrar(asked) as registrar:
        try:
            registrar.register()
        finally:
            registrar.close()


@about_instances
def run(asked: Asked) -> None:
    """Register instances and stay: put back what the agent loses.

    Runs beside instances. SIGTERM, or Ctrl-C, takes them out of Consul and
    ends it with 0. Otherwise as register, whose help tells what a file holds.

      kato-consul run -f kato.toml
    """
    interrupt_on_signals()
    staying = False
    try:
        with _registrar(asked) as registrar, registrar:
            staying = True
            _tell("kato-consul", "all registered; SIGTERM or Ctrl-C takes them out again")
            registrar.keep()
    except KeyboardInterrupt:
        if not staying:  # cut short: nothing was taken out that stood there before
            raise


@contextmanager
def _registrar(asked: Asked) -> Iterator[Registrar]:
    """A registrar that tells what it does, and what it is waiting for."""
    where, count = asked.settings.consul_addr, len(asked.definitions)
    _tell("kato-consul", f"registering {count} instance{'s'[: count - 1]} with Consul at {where}")
    if asked.wait:
        _tell("kato-consul", f"and waiting up to {asked.wait:g} s until Consul says passing")
    with said_when_slow(no_answer_yet(asked.settings)) as answered:

        def heard(who: str, what: str) -> None:
            answered()
            _tell(who, what)

        yield Registrar(asked.definitions, asked.settings, wait=asked.wait, say=heard)


def _tell(who: str, what: str) -> None:
    tell(timed(who, what))
