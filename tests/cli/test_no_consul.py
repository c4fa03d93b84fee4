"""No Consul where it was looked for: each command says so while it tries, and then what to do."""

from kato_consul.testing import ConsulAgent
from tests.cli.running import Instance, all_at_once

NOWHERE = "127.0.0.1:1"


def test_nobody_answers(agent: ConsulAgent, instance: Instance) -> None:
    """Each tells meanwhile that it waits, then where it looked and how to name another; exit 3.

    An agent that hangs, taking connections and answering nothing, is as good as none.
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
        done = all_at_once(*commands)  # each is patient for 5 to 10 s
    finally:
        agent.thaw()
    for command, one in zip(commands, done, strict=True):
        address = command[-1]
        assert one.returncode == 3, one.stderr
        waiting, error = one.stderr.splitlines()
        assert waiting == f"no answer from Consul at {address} yet; trying on"
        assert error.startswith(f"error: no answer from Consul at http://{address}: ")
        assert "CONSUL_HTTP_ADDR or --consul" in error
