"""What the facts mean, and what to do about it: one row a finding.

| finding               | severity | when                                                          |
| --------------------- | -------- | ------------------------------------------------------------- |
| consul.unreachable    | error    | no answer from the agent                                      |
| consul.failing        | error    | it could not answer something                                 |
| consul.no-leader      | error    | the agent knows no leader                                     |
| consul.clock          | warning  | its clock is more than `SKEW` away from ours                  |
| token.denied          | error    | the token may not read what clients and the registrar read    |
| token.cannot-read     | error    | the same, where Consul hides instead of refusing              |
| token.cannot-register | warning  | the token may not write the service                           |
| token.untold          | note     | this Consul does not tell what the token may write            |
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
from dataclasses import dataclass
from enum import IntEnum

from kato_consul.diagnosing.facts import Facts, InstanceFacts
from kato_consul.model import Health

SKEW = 5.0
"""Seconds. A ``Date`` header has whole ones, and an answer may be on its way for a while; TTLs are
counted in tens of seconds."""


class Severity(IntEnum):
    """How bad it is; a worse one is greater."""

    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is to be known: its stable name, where it is, what it is, and what to do."""

    name: str
    severity: Severity
    where: str
    what: str
    todo: str


def judge(facts: Facts) -> list[Finding]:
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
        found += _of_instance(one, facts.keepalive)
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
        yield _clock("consul.clock", "consul", facts.skew)
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
            "token.untold",
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


def _of_instance(one: InstanceFacts, keepalive: float) -> Iterator[Finding]:
    uid, health = one.instance.uid, one.instance.health
    if health is Health.MAINTENANCE:
        yield Finding(
            "instance.maintenance",
            Severity.NOTE,
            uid,
            f"it is in maintenance mode: {one.instance.output}",
            f"'kato-consul drain --off {one.instance.id}' takes it out",
        )
    if one.no_address:
        yield Finding(
            "instance.no-address",
            Severity.NOTE,
            uid,
            f"registered without an address: clients go to its node's, {one.instance.address}",
            "give it an address if it listens on another one",
        )
    if one.unreachable:
        yield _silent(one, uid, health)
        return
    if one.health is None:
        yield Finding(
            "instance.not-kato",
            Severity.WARNING,
            uid,
            f"what answers at {one.instance.netloc} is no KATO: /health is not its",
            "look at the address and the port of the registration",
        )
        return
    yield from _of_store(one, uid, health)
    if one.workers is not None and one.workers > 1:
        yield Finding(
            "instance.workers",
            Severity.WARNING,
            uid,
            f"it has {one.workers} worker processes or more, whose session locks do not know each "
            f"other: two clients on one session overwrite each other",
            "let one client write to a session (ours keeps to that), or run one worker an instance",
        )
    if one.closes_idle:
        yield Finding(
            "instance.keepalive",
            Severity.WARNING,
            uid,
            f"it closes idle connections before the {keepalive:g} s that a client keeps them",
            "raise its --timeout-keep-alive, or lower the client's keepalive below it",
        )
    if one.skew is not None and abs(one.skew) > SKEW:
        yield _clock("instance.clock", uid, one.skew)


def _of_store(one: InstanceFacts, uid: str, health: Health) -> Iterator[Finding]:
    store_answers = one.store_status == 200
    if health is Health.PASSING and not store_answers:
        said = one.store_status or "nothing"
        yield Finding(
            "check.dishonest",
            Severity.ERROR,
            uid,
            f"Consul says passing, and a call that needs the store says {said}: clients are sent "
            f"to an instance that cannot work",
            "look at its Redis; and register it without a plain /health check, so that its probe "
            "tells the truth",
        )
    elif health is Health.PASSING and one.health == "unhealthy":
        yield Finding(
            "check.dishonest",
            Severity.ERROR,
            uid,
            "Consul says passing, and it calls itself unhealthy: with a 200, which a plain check "
            "of /health takes for good",
            "see its log; and register it without a plain /health check, so that its probe tells "
            "the truth",
        )
    elif not store_answers:
        yield Finding(
            "instance.store",
            Severity.ERROR,
            uid,
            f"its store does not answer, or takes no writes: a session call says "
            f"{one.store_status or 'nothing'}",
            "look at its Redis",
        )
    elif one.health != "healthy":
        yield Finding(
            "instance.unhealthy",
            Severity.WARNING,
            uid,
            f"it calls itself {one.health}",
            "see its log",
        )
    elif health is Health.CRITICAL:
        yield Finding(
            "check.wrong",
            Severity.WARNING,
            uid,
            f"Consul says critical ({one.instance.output}), and from here all calls work",
            "can the agent reach it? Is its registrar still there?",
        )


def _silent(one: InstanceFacts, uid: str, health: Health) -> Finding:
    where = f"nobody answers at {one.instance.netloc}: {one.unreachable}"
    if health is Health.CRITICAL:
        return Finding(
            "instance.ghost",
            Severity.WARNING,
            uid,
            f"Consul says critical, and {where}",
            f"if it is gone for good: 'kato-consul deregister {one.instance.id}' at its agent "
            f"({one.instance.node})",
        )
    return Finding(
        "instance.unreachable",
        Severity.WARNING,
        uid,
        f"Consul says {health}, but from here {where}",
        "is the address one that clients can reach?",
    )


def _clock(name: str, where: str, skew: float) -> Finding:
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        name,
        Severity.WARNING,
        where,
        f"its clock is {abs(skew):.0f} s {way} ours",
        "let the machines' clocks be kept by NTP",
    )
