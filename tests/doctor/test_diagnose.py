"""`kato_consul.diagnose`, as library users call it."""

from kato_consul import Settings, Severity, diagnose
from kato_consul._consul.api import ConsulApi
from kato_consul._consul.call import CONSUL_TIMEOUT, SHORTEST_TIMEOUT
from kato_consul._doctor.collect import FactCollector
from kato_consul._flow import Outcome, Send
from tests.building import hung
from tests.flows import Player


def test_hanging_consul_is_waited_for_once() -> None:
    """The first request that gets no response has all of the time; a second one is short."""
    collector = FactCollector(ConsulApi("http://consul.test:8500"), "kato", 4.0, lambda: 0.0)
    timeouts: list[float] = []

    def hanging(send: Send) -> Outcome:
        timeouts.append(send.timeout)
        return hung()

    facts = Player(hanging).play(collector.from_consul())
    assert facts.unreachable
    assert timeouts == [CONSUL_TIMEOUT, SHORTEST_TIMEOUT]


def test_unreachable_consul_is_a_finding() -> None:
    """An unreachable Consul is returned as a finding, not raised; there is no progress."""
    lines: list[str] = []
    settings = Settings(consul_addr="127.0.0.1:1", service="kato")
    diagnosis = diagnose(settings, on_progress=lines.append)
    (finding,) = diagnosis.findings
    assert (finding.name, diagnosis.worst) == ("consul.unreachable", Severity.ERROR)
    assert finding.what == diagnosis.facts.unreachable
    assert lines == []
