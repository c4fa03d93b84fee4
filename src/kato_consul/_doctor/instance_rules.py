"""Rules for one instance: its rows of the table in `kato_consul._doctor.rules`."""

from collections.abc import Iterator

from kato_consul._consul.snapshot_decoder import BUSY_NOTE
from kato_consul._doctor.facts import InstanceFacts, RegistrationFacts
from kato_consul._doctor.findings import MAX_SKEW, Finding, Severity, clock_skew
from kato_consul._doctor.proxy_rules import BEHIND, check_proxy
from kato_consul._doctor.registration_rules import check_registration, remove_or_start
from kato_consul._registration.health_report import HUNG_NOTE, HealthReport
from kato_consul.models import Health


def check_instance(
    facts: InstanceFacts, keepalive: float, *, among_kato: bool, uses_consul: bool
) -> Iterator[Finding]:
    """Yield the findings about one instance; clients keep connections idle for ``keepalive`` s.

    ``among_kato``: an instance of its service is KATO. ``uses_consul``: Consul reports its health.
    """
    uid, health = facts.instance.uid, facts.instance.health if uses_consul else None
    yield from check_registration(facts)
    if facts.instance.address_error:
        return  # nothing was sent to it
    if facts.hung:
        yield Finding(
            "instance.hung",
            Severity.ERROR,
            uid,
            f"{HUNG_NOTE} (Consul reports {health})" if uses_consul else HUNG_NOTE,
            "restart it ('exec' does so itself); if it soon hangs again, check its Redis: KATO "
            "hangs while that does",
        )
        return
    if facts.unreachable:
        if facts.registration.node_alive is not False:  # what is dead is reported already
            yield _unreachable(facts, uid, health)
        return
    if facts.refused:
        yield Finding(
            "instance.refused",
            Severity.ERROR,
            uid,
            f"{facts.instance.origin} answers {facts.refused}",
            "set KATO_API_KEY (or KATO_API_KEY_FILE) for clients, for the registrar and here; if "
            "it is set, that key is not accepted"
            if facts.refused.startswith("401")
            else "set it for clients and for the registrar",
        )
        return
    if facts.health is None:
        yield _not_kato(facts, expected=among_kato or facts.registration.probed)
        return
    if facts.proxy:
        yield from check_proxy(facts, keepalive)
        if facts.gateway:
            yield _gateway(facts)
        return
    report = HealthReport(facts.health, facts.issues)
    yield from _check_health(facts, report, uid, health)
    if report.is_load:
        yield Finding(
            "instance.busy",
            Severity.NOTE,
            uid,
            f"{BUSY_NOTE}: KATO reports {report}, and works on",
            "nothing, unless calls are too slow: then use more machines, or bigger ones",
        )
    if facts.workers is not None and facts.workers > 1:
        yield _workers(facts, uses_consul=uses_consul)
    if facts.gateway:
        yield _gateway(facts)
    if facts.closes_idle:
        yield Finding(
            "instance.keepalive",
            Severity.WARNING,
            uid,
            f"it closes idle connections before the {keepalive:g} s that a client keeps them",
            "raise its --timeout-keep-alive, or lower the client's keepalive below it",
        )
    if facts.skew is not None and abs(facts.skew) > MAX_SKEW:
        yield clock_skew("instance.clock", uid, facts.skew)


def _workers(facts: InstanceFacts, *, uses_consul: bool) -> Finding:
    """Return the finding for several processes at one address.

    They are no problem behind a gateway that routes by session, and whether it does cannot be seen.
    An address in KATO_URL may be a gateway's, also if no header names one: HAProxy adds none.
    """
    may_be_gateway = bool(facts.gateway) or not uses_consul
    gateway = f"the gateway ({facts.gateway})" if facts.gateway else "a gateway"
    return Finding(
        "instance.workers",
        Severity.NOTE if may_be_gateway else Severity.WARNING,
        facts.instance.uid,
        f"at least {facts.workers} KATO processes answer at this address. Either they are several "
        f"instances behind {gateway}, which is right if it sends all requests of a session to one "
        f"of them; or one instance has several worker processes, which do not share their session "
        f"locks: two clients that write to one session overwrite each other",
        f"if it is a gateway, check that it chooses the instance by the session's id, as the "
        f"templates of 'kato-consul gateway' do, and check the instances behind it: {BEHIND}. If "
        f"it is an instance, run one worker process per instance, or let one client at a time "
        f"write to a session (this library does)",
    )


_RETRIES = {
    "nginx": "see that its proxy_next_upstream has no non_idempotent",
    "openresty": "see that its proxy_next_upstream has no non_idempotent",
    "envoy": "see that its retry_on has nothing but connect-failure, refused-stream and "
    "reset-before-request",
}
"""What keeps a gateway from repeating POSTs, by what its name begins with."""

_RETRIES_OF_OTHERS = "see that it repeats a POST only if it had no connection"


def _gateway(facts: InstanceFacts) -> Finding:
    name = facts.gateway.lower()
    known = (todo for prefix, todo in _RETRIES.items() if name.startswith(prefix))
    todo = next(known, _RETRIES_OF_OTHERS)
    if facts.repeats_posts:
        return Finding(
            "instance.gateway-repeats",
            Severity.WARNING,
            facts.instance.uid,
            f"the gateway in front of it ({facts.gateway}) sent a POST again that KATO had: "
            f"observations are applied twice",
            todo,
        )
    return Finding(
        "instance.gateway",
        Severity.NOTE,
        facts.instance.uid,
        f"its answers come through a gateway ({facts.gateway}). Whether that sends a POST again "
        f"that KATO has, which would be applied twice, cannot be seen from here",
        todo,
    )


def _not_kato(facts: InstanceFacts, *, expected: bool) -> Finding:
    correct = "check the address, the port, the scheme and the path of the registration"
    return Finding(
        "instance.not-kato",
        Severity.WARNING if expected else Severity.NOTE,
        facts.instance.uid,
        f"{facts.instance.origin} is not KATO: its /health and /status return something else. Only "
        f"its registration was checked",
        correct
        if expected
        else f"nothing, if it is another service; if it should be KATO, {correct}",
    )


def _check_health(
    facts: InstanceFacts, report: HealthReport, uid: str, health: Health | None
) -> Iterator[Finding]:
    store_works = facts.store_status == 200
    result = f"returns {facts.store_status}" if facts.store_status else "gets no response"
    if health is Health.PASSING and not store_works:
        yield Finding(
            "check.false-passing",
            Severity.ERROR,
            uid,
            f"Consul reports passing, but a request that needs the store {result}: clients use an "
            f"instance that cannot work",
            "check its Redis; and register it without a plain /health check, so that its probe "
            "detects this",
        )
    elif health is Health.PASSING and report.status == "unhealthy" and not report.is_load:
        yield Finding(
            "check.false-passing",
            Severity.ERROR,
            uid,
            f"Consul reports passing, but KATO reports {report}. It does so with a 200, which "
            "passes a plain check of /health",
            "see its log; and register it without a plain /health check, so that its probe "
            "detects this",
        )
    elif not store_works:
        yield Finding(
            "instance.store",
            Severity.ERROR,
            uid,
            f"its store is down or accepts no writes: a session request {result}",
            "check its Redis",
        )
    elif report.status != "healthy" and not report.is_load:
        yield Finding(
            "instance.unhealthy",
            Severity.WARNING,
            uid,
            f"KATO reports {report}",
            "see its log",
        )
    elif health is Health.CRITICAL and not _is_explained(facts.registration):
        yield Finding(
            "check.false-critical",
            Severity.WARNING,
            uid,
            f"Consul reports critical ({facts.instance.output}), but from here all requests work",
            "check that the agent can reach it, and that its registrar still runs",
        )


def _is_explained(registration: RegistrationFacts) -> bool:
    """Return whether another finding is why Consul reports critical."""
    return registration.node_alive is False or bool(registration.expired)


def _unreachable(facts: InstanceFacts, uid: str, health: Health | None) -> Finding:
    no_response = f"no response from {facts.instance.origin}: {facts.unreachable}"
    if health is Health.CRITICAL and not facts.untrusted:
        return Finding(
            "instance.stale",
            Severity.WARNING,
            uid,
            f"Consul reports critical, and there is {no_response}",
            remove_or_start(facts.instance, facts.registration),
        )
    return Finding(
        "instance.unreachable",
        Severity.WARNING,
        uid,
        f"Consul reports {health}, but from here there is {no_response}" if health else no_response,
        "set KATO_CACERT to the CA file of its certificate, or what else the reason names; if "
        "clients have that already, correct the certificate"
        if facts.untrusted
        else "check that clients can reach its address",
    )
