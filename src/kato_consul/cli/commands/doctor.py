"""``doctor``: what is wrong with a deployment, and what to do."""

import json
import sys
import time
from dataclasses import asdict, replace

from rich.console import Console
from rich.text import Text

from kato_consul._consul.agents import consul_api
from kato_consul._doctor.collect import FactCollector
from kato_consul._doctor.facts import Facts
from kato_consul._doctor.findings import Finding, Severity
from kato_consul._doctor.rules import diagnose
from kato_consul._sync.driver import Driver
from kato_consul._sync.keepalive_probe import closed_while_idle
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.options.common import Consul, Json, Service, no_answer_yet, settings
from kato_consul.cli.output import print_status, status_if_slow
from kato_consul.settings import Settings

NO_CONSUL = 3
"""As of every command."""

CODES = {None: 0, Severity.NOTE: 0, Severity.WARNING: 8, Severity.ERROR: 9}
COLOURS = {Severity.NOTE: "dim", Severity.WARNING: "yellow", Severity.ERROR: "red"}


def doctor(service: Service = None, consul: Consul = None, json_: Json = False) -> None:
    """Look at a deployment, and say what is wrong and what to do.

    Asks Consul, and every instance from here: are the checks honest, do the
    instances work as one pool, is anything left behind? Takes a few seconds,
    for which connections are left idle to see who closes them. It changes
    nothing, but for a session that it makes and deletes. Exits with 0 when
    nothing is wrong (notes are not), 8 for warnings, 9 for errors, and 3 when
    there is no Consul to ask.

      kato-consul doctor

      kato-consul doctor --json | jq -r '.findings\\[].name'
    """
    with exit_on_error():
        asked = settings(consul, service)
        facts = _facts(asked)
        findings = diagnose(facts)
        worst = max((one.severity for one in findings), default=None)
        code = NO_CONSUL if facts.unreachable else CODES[worst]
        if json_:
            sys.stdout.write(json.dumps(_as_json(facts, findings)) + "\n")
        else:
            _print(facts, findings)
    raise SystemExit(code)


def _facts(asked: Settings) -> Facts:
    driver = Driver(asked)
    try:
        examining = FactCollector(consul_api(asked), asked.service, asked.keepalive, time.time)
        with status_if_slow(no_answer_yet(asked)):
            facts = driver.run(examining.consul())
        if facts.instances:
            count = len(facts.instances)
            print_status(
                f"asking {count} instance{'s'[: count - 1]}, and leaving connections idle for "
                f"{asked.keepalive:g} s"
            )
        instances = [driver.run(examining.instance(one)) for one in facts.instances or ()]
    finally:
        driver.close()
    places = {
        one.instance.uid: (one.instance.address, one.instance.port)
        for one in instances
        if not one.unreachable
    }
    if facts.instances is None:
        return facts
    closed = closed_while_idle(places, asked.keepalive)
    return replace(
        facts,
        instances=tuple(
            replace(one, closes_idle=closed.get(one.instance.uid)) for one in instances
        ),
    )


def _as_json(facts: Facts, findings: list[Finding]) -> dict[str, object]:
    return {
        "service": facts.service,
        "instances": len(facts.instances or ()),
        "findings": [{**asdict(one), "severity": one.severity.name.lower()} for one in findings],
    }


def _print(facts: Facts, findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in findings:
        head = Text(f"{one.severity.name.lower()}: ", COLOURS[one.severity])
        console.print(head + Text(f"{one.where}: {one.what} ") + Text(f"[{one.name}]", "dim"))
        console.print(Text(f"    {one.todo}"))
    bad = sum(one.severity > Severity.NOTE for one in findings)
    if facts.unreachable:
        return
    count = len(facts.instances or ())
    looked = f"{facts.service}: Consul and {count} instance{'s' if count != 1 else ''} looked at"
    console.print(f"{looked}, {bad or 'nothing'} wrong")
