"""What the facts mean, and what to do about it: one row a finding.

| finding               | severity | when                                                          |
| --------------------- | -------- | ------------------------------------------------------------- |
| consul.unreachable    | error    | no answer from the agent                                      |
| consul.failing        | error    | it could not answer something                                 |
| consul.no-leader      | error    | the agent knows no leader                                     |
| consul.clock          | warning  | its clock is more than `SKEW` away from ours                  |
| token.denied          | error    | the token may not read what clients and the registrar read    |
| token.cannot-read     | error    | the same, where Consul hides what it would refuse             |
| token.cannot-register | warning  | the token may not write the service                           |
| token.unknown         | note     | this Consul does not report what the token may write          |
| pool.empty            | error    | no instance is registered                                     |
| pool.none-usable      | error    | no instance is passing or in warning                          |
| pool.single           | note     | one usable instance alone: nobody takes over                  |
| pool.memory           | error    | base_processor_id differs: they do not share what they learn  |
| pool.version          | warning  | versions differ                                               |
| check.dishonest       | error    | Consul says passing, and a call that needs the store fails,   |
|                       |          | or it calls itself unhealthy                                  |
| check.wrong           | warning  | Consul says critical, and all calls work                      |
| instance.store        | error    | its store does not answer or is full, and Consul knows        |
| instance.unhealthy    | warning  | it calls itself unhealthy or degraded, and Consul knows       |
| instance.unreachable  | warning  | Consul says passing, and from here nobody answers             |
| instance.ghost        | warning  | Consul says critical, and nobody answers: left behind?        |
| instance.not-kato     | warning  | its /health is not KATO's                                     |
| instance.maintenance  | note     | it is in maintenance mode                                     |
| instance.workers      | warning  | several worker processes: two writers overwrite each other    |
| instance.keepalive    | warning  | it closes idle connections sooner than clients do             |
| instance.clock        | warning  | its clock is more than `SKEW` away from ours                  |
| instance.no-address   | note     | registered without one: clients are sent to the node's        |
"""

from collections import Counter
from collections.abc import Callable, Iterator

from kato_consul._doctor.facts import Facts, InstanceFacts
from kato_consul._doctor.findings import SKEW, Finding, Severity, clock_is_off
from kato_consul._doctor.instance_rules import of_instance
from kato_consul.models import Health


def diagnose(facts: Facts) -> list[Finding]:
    """What is wrong, worst first."""
    if facts.unreachable:
        return [
            Finding(
                "consul.unreachable",
                Severity.ERROR,
                "consul",
                facts.unreachable,
                "start the agent, or name one that runs",
            )
        ]
    found = [*_of_consul(facts), *_of_pool(facts)]
    for one in facts.instances or ():
        found += of_instance(one, facts.keepalive)
    return sorted(found, key=lambda one: -one.severity)


def _of_consul(facts: Facts) -> Iterator[Finding]:
    if facts.leader == "":
        yield Finding(
            "consul.no-leader",
            Severity.ERROR,
            "consul",
            "the agent knows no leader: nothing can be registered, and reads may be old",
            "look at the servers: 'consul members', 'consul operator raft list-peers'",
        )
    else:  # without one, that is why
        for what, words in facts.failing.items():
            yield Finding(
                "consul.failing",
                Severity.ERROR,
                "consul",
                f"{what} fails: {words}",
                "look at the log of the agent, and of the servers",
            )
    if facts.skew is not None and abs(facts.skew) > SKEW:
        yield clock_is_off("consul.clock", "consul", facts.skew)
    for what, words in facts.denied.items():
        yield Finding(
            "token.denied",
            Severity.ERROR,
            "consul",
            f"{what} is denied: {words}",
            "give the token the policy that the documentation has for this command",
        )
    for what, good in facts.allowed.items():
        hidden = what == "service:read" or not facts.instances
        if good:
            continue
        if what == "service:write":
            yield Finding(
                "token.cannot-register",
                Severity.WARNING,
                "consul",
                f"the token lacks {what} on {facts.service!r}: a registrar cannot work with it, a "
                f"client can",
                "for the registrar, use a token that has it",
            )
        elif hidden:
            yield Finding(
                "token.cannot-read",
                Severity.ERROR,
                "consul",
                f"the token lacks {what}: Consul hides the instances of {facts.service!r} from it",
                "set CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN, and give that token the policy "
                "that the documentation has for clients",
            )
    if not facts.allowed:
        yield Finding(
            "token.unknown",
            Severity.NOTE,
            "consul",
            "this Consul does not tell what the token may write",
            "see whether 'kato-consul register' works",
        )


def _of_pool(facts: Facts) -> Iterator[Finding]:
    pool = f"service {facts.service!r}"
    if facts.instances is None:
        return  # that it is not known is said already
    usable = [
        one for one in facts.instances if one.instance.health in (Health.PASSING, Health.WARNING)
    ]
    if not facts.instances:
        yield Finding(
            "pool.empty",
            Severity.ERROR,
            pool,
            "no instance is registered",
            "'kato-consul register' puts one in; another service is named with --service",
        )
    elif not usable:
        yield Finding(
            "pool.none-usable",
            Severity.ERROR,
            pool,
            f"none of {len(facts.instances)} is passing: every call fails",
            "see what their checks say: 'kato-consul instances'",
        )
    elif len(usable) == 1:
        yield Finding(
            "pool.single",
            Severity.NOTE,
            pool,
            f"{usable[0].instance.uid} is the only one that can be used: nobody takes over",
            "register another one",
        )
    yield from _differing(
        facts,
        "pool.memory",
        Severity.ERROR,
        "base_processor_id",
        lambda one: one.base_processor_id,
        "they do not share what they learn: give all the same SERVICE_NAME",
    )
    yield from _differing(
        facts,
        "pool.version",
        Severity.WARNING,
        "version",
        lambda one: one.version,
        "run one version, but for the time of an upgrade",
    )


def _differing(
    facts: Facts,
    name: str,
    severity: Severity,
    what: str,
    of: Callable[[InstanceFacts], str | None],
    todo: str,
) -> Iterator[Finding]:
    values = {one.instance.uid: value for one in facts.instances or () if (value := of(one))}
    if len(set(values.values())) > 1:
        common, _ = Counter(values.values()).most_common(1)[0]
        others = ", ".join(f"{uid} has {value}" for uid, value in values.items() if value != common)
        yield Finding(
            name,
            severity,
            f"service {facts.service!r}",
            f"{what} differs: {others}, others {common}",
            todo,
        )
