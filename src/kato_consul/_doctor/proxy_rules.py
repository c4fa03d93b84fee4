"""Rules for an address at which a `kato-consul proxy` answers, in the place of an instance.

What KATO reports through it is about any of its instances, so nothing is concluded from that: not
about processes, versions, SERVICE_NAMEs or load.
"""

from collections.abc import Iterator

from kato_consul._doctor.facts import InstanceFacts
from kato_consul._doctor.findings import MAX_SKEW, Finding, Severity, clock_skew
from kato_consul.models import Health

BEHIND = (
    "'kato-consul doctor --service NAME' with the service that they are registered as, and "
    "without KATO_URL"
)
"""How to check instances that are behind a proxy or a gateway."""


def check_proxy(facts: InstanceFacts, keepalive: float) -> Iterator[Finding]:
    """Yield the findings about one proxy; clients keep connections idle for ``keepalive`` s."""
    uid, origin = facts.instance.uid, facts.instance.origin
    yield Finding(
        "instance.proxy",
        Severity.NOTE,
        uid,
        f"{origin} is a 'kato-consul proxy': the instances behind it were not checked",
        f"to check them: {BEHIND}",
    )
    if facts.store_status != 200:
        result = f"returns {facts.store_status}" if facts.store_status else "gets no response"
        passing = facts.instance.health is Health.PASSING
        yield Finding(
            "instance.store",
            Severity.ERROR,
            uid,
            f"the proxy serves no sessions: a session request {result}"
            + (", although Consul reports passing" if passing else ""),
            f"see the answer of {origin}/ready and the proxy's log; and check the instances behind "
            f"it: {BEHIND}",
        )
    if facts.closes_idle:
        yield Finding(
            "instance.keepalive",
            Severity.WARNING,
            uid,
            f"it closes idle connections before the {keepalive:g} s that a client keeps them",
            "if it is about to end, nothing: then it closes them; if not, lower the client's "
            "keepalive, or raise the time limit of what is in front of the proxy",
        )
    if facts.skew is not None and abs(facts.skew) > MAX_SKEW:
        yield clock_skew("instance.clock", uid, facts.skew)
