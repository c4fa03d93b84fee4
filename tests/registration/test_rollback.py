"""Rollback: an instance that a failed run changed is put back as it was."""

from dataclasses import replace

import pytest

from kato_consul.errors import ConsulRejected
from tests.building import reply
from tests.registration.fake_agent import ONE, Agent, Run, failing, listed


def test_updated_instance_is_put_back() -> None:
    """An instance that the failed run changed is registered as it was before."""
    before = replace(ONE, port=1, tags=("old",))
    agent = Agent(
        services=listed(before),
        override=failing("agent/service/register/kato/2", with_=reply(400)),
    )
    run = Run(agent)
    with pytest.raises(ConsulRejected):
        run.register(wait=0)
    assert agent.services == listed(before)
    assert run.events[0] == ("kato-1", "registration updated")
    assert run.events[1][1].startswith("put back as it was, with port 1; check 'service:kato-1' is")


def test_what_another_registrar_changed_meanwhile_is_not_put_back() -> None:
    """A rollback undoes only what is still as this run registered it."""
    theirs = listed(replace(ONE, port=3))
    agent = Agent(services=listed(replace(ONE, port=1)))
    run = Run(agent)
    run.play(run.flows.register_all())
    agent.services.update(theirs)
    run.play(run.flows.roll_back())
    assert agent.services == theirs


def test_restoring_that_fails_is_reported() -> None:
    """If the former registration cannot be put back, this is an event."""
    agent = Agent(services=listed(replace(ONE, port=1)))
    run = Run(agent, (ONE,))
    run.play(run.flows.register_all())
    agent.override = failing("agent/service/register/kato-1", with_=reply(400, b"bad"))
    run.play(run.flows.roll_back())
    subject, text = run.events[-1]
    assert subject == "kato-1"
    assert text.startswith("could not be rolled back")
