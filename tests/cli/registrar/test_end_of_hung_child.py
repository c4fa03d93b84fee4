"""`exec` is ended while its child hangs: there are no clients to wait for."""

from pathlib import Path

from kato_consul.testing import ConsulAgent
from tests.cli.registrar.test_hung import HUNG, Instance, health
from tests.cli.running import ENDS_WITHIN, agent_env, ids, line_with, started
from tests.testing.waiting import eventually


def test_hung_child_is_not_drained(agent: ConsulAgent, service: str, tmp_path: Path) -> None:
    """Its clients have left when it became critical: it is stopped at once, and deregistered."""
    child = Instance(service, tmp_path)
    flags = ["-f", str(child.file), "--restart-hung", "never", "--stop", "500ms", "--drain", "10m"]
    with started("exec", *flags, "--", *child.command, env=agent_env(agent)) as process:
        assert eventually(lambda: health(agent, service) == "passing")
        child.block()
        line_with(process, f"{service}-1: critical: {HUNG}")
        assert eventually(lambda: health(agent, service) == "critical")
        process.terminate()
        rest, _ = process.communicate(timeout=ENDS_WITHIN)
    assert process.returncode == 137
    assert "maintenance" not in rest
    assert ids(agent, service) == set()
