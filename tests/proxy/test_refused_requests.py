"""Requests that KATO does not take: KATO's own refusal, whatever its instances and stores do."""

from dataclasses import replace
from typing import Any

import pytest

from kato_consul import Settings
from kato_consul.testing import Fleet
from tests.proxy.served import ServedProxy

MALFORMED = b'{"strings": ['
UNPROCESSABLE = 422


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


def test_after_a_request_that_kato_takes(proxy: ServedProxy) -> None:
    """What KATO takes although its types are others is refused, and harms no later refusal."""
    session = proxy.open()
    odd = b'{"strings": ["\\ud800"]}'  # with it in its memory, KATO cannot answer
    assert proxy.call("POST", f"{session}/observe", odd).status == UNPROCESSABLE
    sequence = {"observations": [{"strings": ["a"]}], "learn_at_end": "yes"}
    for _ in range(2):
        response = proxy.call("POST", f"{session}/observe-sequence", sequence)
        assert response.status == UNPROCESSABLE
        assert response.json["detail"][0]["type"] == "unsupported"
    assert proxy.stm(session) == []


@pytest.mark.parametrize("asked", [{"ttl_seconds": True}, {"metadata": {"a": float("nan")}}])
def test_new_session_that_kato_takes(proxy: ServedProxy, asked: dict[str, Any]) -> None:
    """No session is created around the proxy: its predictions would be processed, and its
    idempotency key would have no effect."""
    response = proxy.call("POST", "/sessions", {"node_id": "n", **asked})
    assert response.status == UNPROCESSABLE
