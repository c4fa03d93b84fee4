"""``demo``: runs a workload on a local fleet, with a crash, and verifies the result."""

import json

from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.options.common import Json
from kato_consul.cli.output import print_result
from kato_consul.cli.signals import interrupt_on_signals


def demo(json_: Json = False) -> None:
    """Run a workload that survives a crash, and verify the result.

    Starts a Consul agent and three stand-in KATO instances, and registers
    them. Eight sessions observe, learn and predict, while one instance is
    killed with SIGKILL and started again. Then every observation that was
    acknowledged is read back from KATO, without this client, and counted.

    Takes about 20 seconds; the first run longer if Consul has to be
    downloaded. Exits with 1 unless 0 failed, 0 were lost and 0 were applied
    twice.

      kato-consul demo

      kato-consul demo --json 2> /dev/null
    """
    with exit_on_error():
        interrupt_on_signals()
        from kato_consul.cli.demo.scenario import run_scenario
        from kato_consul.cli.demo.view import print_outcome

        outcome = run_scenario(quiet=json_)
        if json_:
            print_result(json.dumps(outcome.as_json()))
        else:
            print_outcome(outcome)
        if not outcome.report.passed:
            raise SystemExit(1)
