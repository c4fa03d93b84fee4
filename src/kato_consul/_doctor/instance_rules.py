"""What is wrong with one instance: its rows of the table in `kato_consul._doctor.rules`."""

from collections.abc import Iterator

from kato_consul._doctor.facts import InstanceFacts
from kato_consul._doctor.findings import SKEW, Finding, Severity, clock_is_off
from kato_consul.models import Health


def of_instance(one: InstanceFacts, keepalive: float) -> Iterator[Finding]:
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
        yield clock_is_off("instance.clock", uid, one.skew)


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
