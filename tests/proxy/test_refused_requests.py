"""Requests that KATO does not take: KATO's own refusal, whatever its instances and stores do."""

from dataclasses import replace

import pytest

from kato_consul import Settings
from kato_consul.testing import Fleet
from tests.proxy.served import ServedProxy

MALFORMED = b'{"strings": ['


@pytest.mark.parametrize("path", ["/observe", "/extend?ttl_seconds=soon"])
def test_while_no_instance_answers(settings: Settings, fleet: Fleet, path: str) -> None:
    """A malformed request is a 503 then, and no mistake of the proxy."""
    with ServedProxy(replace(settings, deadline=2.0, attempt_timeout=0.5)) as proxy:
        session = proxy.open()
        for instance in fleet.instances.values():
            instance.switch(store="down")
        response = proxy.call("POST", f"{session}{path}", MALFORMED)
        assert (response.status, response.json["outcome"]) == (503, "not_applied")


def test_new_session_while_no_instance_answers(settings: Settings, fleet: Fleet) -> None:
    """So is one to create a session."""
    with ServedProxy(replace(settings, deadline=2.0, attempt_timeout=0.5)) as proxy:
        for instance in fleet.instances.values():
            instance.switch(hung=True)
        response = proxy.call("POST", "/sessions", MALFORMED)
        assert (response.status, response.json["outcome"]) == (503, "not_applied")
