"""``doctor``: diagnoses a deployment and prints the findings."""

import json
import sys
from dataclasses import asdict

from kato_consul import Diagnosis, Severity
from kato_consul.cli.exit_codes import (
    DOCTOR_ERRORS,
    DOCTOR_WARNINGS,
    NO_CONSUL,
    exit_on_error,
)
from kato_consul.cli.options.common import Consul, Json, Service, settings_from
from kato_consul.cli.output import print_status, printable, status_if_consul_is_slow

_CODES = {
    None: 0,
    Severity.NOTE: 0,
    Severity.WARNING: DOCTOR_WARNINGS,
    Severity.ERROR: DOCTOR_ERRORS,
}
_COLOURS = {Severity.NOTE: "dim", Severity.WARNING: "yellow", Severity.ERROR: "red"}


def doctor(service: Service = None, consul: Consul = None, json_: Json = False) -> None:
    """Diagnose a deployment: print what is wrong, and what to do.

    Queries Consul, and every instance from this machine. Finds hung instances,
    health checks that do not match the instance, instances that do not work as
    one pool, and stale registrations. The checks of instances are for KATO: of
    another service, only the registrations are checked.

    If KATO_CONSUL_SESSION_DIRECTORY is set, it tries the session directory, too.

    Takes a few seconds, in which idle connections show which instances close
    them. It changes nothing, except for one session for each instance, and one
    entry of the session directory, which it creates and deletes. Exits with 0 if
    nothing is wrong (notes do not count), 8 for warnings, 9 for errors, and 3 if
    Consul does not answer.

      kato-consul doctor

      kato-consul doctor --json | jq -r '.findings\\[].name'
    """
    with exit_on_error():
        from kato_consul import diagnose

        settings = settings_from(consul, service)
        with status_if_consul_is_slow(settings) as consul_answered:

            def on_progress(line: str) -> None:
                consul_answered()
                print_status(line)

            diagnosis = diagnose(settings, on_progress=on_progress)
        code = NO_CONSUL if diagnosis.facts.unreachable else _CODES[diagnosis.worst]
        if json_:
            sys.stdout.write(json.dumps(_as_json(diagnosis)) + "\n")
        else:
            _print(diagnosis)
    raise SystemExit(code)


def _as_json(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "service": diagnosis.facts.service,
        "instances": len(diagnosis.facts.instances or ()),
        "findings": [
            {**asdict(finding), "severity": finding.severity.name.lower()}
            for finding in diagnosis.findings
        ],
    }


def _print(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for finding in diagnosis.findings:
        severity = Text(f"{finding.severity.name.lower()}: ", _COLOURS[finding.severity])
        what = Text(printable(f"{finding.where}: {finding.what} "))
        console.print(severity + what + Text(f"[{finding.name}]", "dim"))
        console.print(Text(printable(f"    {finding.todo}")))
    if diagnosis.facts.unreachable:
        return
    problems = sum(finding.severity > Severity.NOTE for finding in diagnosis.findings)
    count = len(diagnosis.facts.instances or ())
    consul = "Consul and " if diagnosis.facts.uses_consul else ""
    checked = f"checked {consul}{count} instance{'s' if count != 1 else ''}"
    result = f"{problems or 'no'} problem{'s' if problems != 1 else ''}"
    console.print(Text(printable(f"{diagnosis.facts.service}: {checked}: {result}")))
