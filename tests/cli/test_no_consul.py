"""No Consul at the address: every command prints that it waits, and then what to do."""

from kato_consul.testing import ConsulAgent
from tests.cli.running import HealthServer, all_at_once

NOWHERE = "127.0.0.1:1"


def test_no_answer(agent: ConsulAgent, instance: HealthServer) -> None:
    """Each prints that it waits, then the address and how to use another one; exit 3.

    An agent that hangs, accepting connections without answering, has the same result.
    """
    commands = [
        ["register", *instance.flags("kato"), "--consul", NOWHERE],
        ["run", *instance.flags("kato"), "--consul", NOWHERE],
        ["deregister", "kato-1", "--consul", NOWHERE],
        ["instances", "--consul", NOWHERE],
        ["watch", "--consul", NOWHERE],
        ["instances", "--consul", agent.http_addr],
    ]
    agent.freeze()
    try:
        done = all_at_once(*commands)  # each waits for 5 to 10 s
    finally:
        agent.thaw()
    for command, one in zip(commands, done, strict=True):
        address = command[-1]
        assert one.returncode == 3, one.stderr
        waiting, error = one.stderr.splitlines()
        assert waiting == f"no answer from Consul at {address} yet; still trying"
        assert error.startswith(f"error: no answer from Consul at http://{address}: ")
        assert "CONSUL_HTTP_ADDR or --consul" in error
