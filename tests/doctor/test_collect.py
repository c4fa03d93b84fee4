"""Facts about one instance, from what it answers."""

import pytest

from kato_consul._consul.api import ConsulApi
from kato_consul._doctor.collect import FactCollector
from kato_consul._doctor.facts import InstanceFacts
from kato_consul._flow import Cause, Failure, Outcome
from kato_consul.models import Instance
from tests.building import reply
from tests.flows import Player

COLLECTOR = FactCollector(ConsulApi("http://consul.test:8500"), "kato", 4.0, lambda: 0.0)
LISTED = InstanceFacts(Instance("orders-1", "orders", "10.0.0.5", 8000))


def collected(outcome: Outcome) -> tuple[InstanceFacts, list[str]]:
    """Return the facts about an instance that answers all requests so, and the methods."""
    player = Player(lambda send: outcome)
    facts: InstanceFacts = player.play(COLLECTOR.from_instance(LISTED))
    return facts, [send.method for send in player.sent]


@pytest.mark.parametrize(("cause", "untrusted"), [(Cause.TLS, True), (Cause.CONNECT, False)])
def test_certificate_that_is_not_trusted(cause: Cause, untrusted: bool) -> None:
    """It is distinguished from an instance that is gone."""
    facts, _ = collected(Failure(cause, bytes_sent=False, detail="why"))
    assert (facts.untrusted, bool(facts.unreachable)) == (untrusted, True)


@pytest.mark.parametrize("status", ["ok", "healthy"])
def test_service_that_is_not_kato(status: str) -> None:
    """It answers everything with a "status", and is not KATO: nothing is created in it."""
    facts, methods = collected(reply(200, {"status": status}))
    assert facts == LISTED
    assert set(methods) == {"GET"}
