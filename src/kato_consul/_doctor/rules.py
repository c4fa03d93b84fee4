"""Diagnosis rules: turn facts into findings. The table has one row for each finding.

| finding               | severity | condition                                                     |
| --------------------- | -------- | ------------------------------------------------------------- |
| consul.unreachable    | error    | no response from the agent                                    |
| consul.none           | note     | KATO_URL is set and no Consul: only the instances are checked |
| consul.failing        | error    | the agent could not answer a query                            |
| consul.no-leader      | error    | the cluster has no leader                                     |
| consul.clock          | warning  | the agent's clock is more than `MAX_SKEW` off                 |
| token.denied          | error    | the token may not read what clients and the registrar read    |
| token.cannot-read     | error    | the same, where Consul filters the result instead of denying  |
| token.cannot-register | note     | the token may not write the service                           |
| token.unknown         | note     | this Consul does not report what the token may write          |
| directory.denied      | error    | the session directory refuses for want of a permission        |
| directory.unavailable | error    | the session directory does not answer, or refuses             |
| directory.evicts      | error    | the session directory removes sessions when it is full        |
| directory.left        | note     | sessions whose last owner did not hand them over              |
| pool.empty            | error    | no instance is registered                                     |
| pool.unreadable       | warning  | an entry of Consul's list of instances cannot be read         |
| pool.none-usable      | error    | no instance is passing or in warning                          |
| pool.single           | note     | only one instance is usable: there is no failover             |
| pool.knowledge        | error    | base_processor_id differs: what one learns, others do not see |
| pool.version          | warning  | versions differ                                               |
| check.false-passing   | error    | Consul reports passing, but a request that needs the store    |
|                       |          | fails, or KATO reports unhealthy                              |
| check.false-critical  | warning  | Consul reports critical, but all requests work                |
| instance.store        | error    | its store is down or full; Consul does not report passing     |
| instance.unhealthy    | warning  | KATO reports unhealthy (Consul: not passing) or degraded,     |
|                       |          | for another reason than the load of its machine               |
| instance.busy         | note     | KATO reports one of these because of the load of its machine  |
| instance.hung         | error    | it accepts connections and does not answer                    |
| instance.unreachable  | warning  | Consul does not report critical, but there is no response; or |
|                       |          | there is no TLS connection                                    |
| instance.refused      | error    | a gateway in front of it asks for credentials, or redirects   |
| instance.stale        | warning  | Consul reports critical, and there is no response             |
| instance.not-kato     | warning, | its /health and /status are not KATO's; a note if nothing     |
|                       | note     | shows that its service is KATO: only the registration counts  |
| instance.maintenance  | note     | it is in maintenance mode                                     |
| instance.proxy        | note     | a `kato-consul proxy` answers: no instance was checked        |
| instance.workers      | warning, | several processes at one address: two writers overwrite each  |
|                       | note     | other; a note if they may be instances behind a gateway       |
| instance.keepalive    | warning  | it closes idle connections sooner than clients do             |
| instance.gateway      | note     | its answers come through a gateway, which may repeat POSTs    |
| instance.gateway-     | warning  | the gateway has repeated a POST that was sent                 |
|   repeats             |          |                                                               |
| instance.clock        | warning  | its clock is more than `MAX_SKEW` off                         |
| instance.dead-node    | warning  | Consul's agent on its node is dead                            |
| instance.flapping     | warning  | its registration changes again and again                      |
| check.none            | warning  | it has no check, and so is always passing                     |
| check.expired         | warning  | nothing reports to its TTL check any more, and it works       |
| instance.address      | error    | clients cannot use its address, port, scheme or path          |
| instance.no-address   | note     | registered without an address: clients use the node's         |
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator

from kato_consul._consul.permissions import NODE_READ, SERVICE_READ, SERVICE_WRITE
from kato_consul._doctor.directory_rules import check_directory
from kato_consul._doctor.facts import DeploymentFacts, InstanceFacts
from kato_consul._doctor.findings import MAX_SKEW, Finding, Severity, clock_skew
from kato_consul._doctor.instance_rules import check_instance


def apply_rules(facts: DeploymentFacts) -> tuple[Finding, ...]:
    """Return the findings, worst first."""
    if facts.unreachable:
        return (
            Finding(
                "consul.unreachable",
                Severity.ERROR,
                "consul",
                facts.unreachable,
                "start the agent, or name one that runs",
            ),
        )
    findings = [*_check_pool(facts)]
    if facts.uses_consul:
        findings = [*_check_consul(facts), *_check_token(facts), *findings]
    else:
        findings.append(_no_consul(facts))
    if facts.directory is not None:
        findings += check_directory(facts.directory)
    among_kato = any(observed.health is not None for observed in facts.instances or ())
    for observed in facts.instances or ():
        findings += check_instance(
            observed, facts.keepalive, among_kato=among_kato, uses_consul=facts.uses_consul
        )
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _no_consul(facts: DeploymentFacts) -> Finding:
    return Finding(
        "consul.none",
        Severity.NOTE,
        f"service {facts.service!r}",
        "its instances are those of KATO_URL, and no Consul is set: there is none to check",
        "nothing; or set CONSUL_HTTP_ADDR, to check what Consul lists",
    )


def _check_consul(facts: DeploymentFacts) -> Iterator[Finding]:
    if facts.leader == "":
        yield Finding(
            "consul.no-leader",
            Severity.ERROR,
            "consul",
            "the cluster has no leader: nothing can be registered, and reads may be stale",
            "check the servers: 'consul members', 'consul operator raft list-peers'",
        )
    else:  # a missing leader explains all failures
        for query, message in facts.failing.items():
            yield Finding(
                "consul.failing",
                Severity.ERROR,
                "consul",
                f"{query} fails: {message}",
                "see the logs of the agent and of the servers",
            )
    if facts.skew is not None and abs(facts.skew) > MAX_SKEW:
        yield clock_skew("consul.clock", "consul", facts.skew)


def _check_token(facts: DeploymentFacts) -> Iterator[Finding]:
    for query, message in facts.denied.items():
        yield Finding(
            "token.denied",
            Severity.ERROR,
            "consul",
            f"{query} is denied: {message}",
            "give the token the policy that the documentation lists for this command",
        )
    for permission, granted in facts.allowed.items():
        # node:read is checked for no node in particular: instances that are listed are readable.
        matters = permission == SERVICE_READ or not facts.instances
        if granted:
            continue
        if permission == SERVICE_WRITE:
            yield Finding(
                "token.cannot-register",
                Severity.NOTE,
                "consul",
                f"the token lacks {permission} on {facts.service!r}: enough for a client, but not "
                f"for a registrar",
                "nothing for clients; for a registrar, use a token that has it",
            )
        elif matters:
            yield Finding(
                "token.cannot-read",
                Severity.ERROR,
                "consul",
                f"the token lacks {permission}: Consul hides the instances of {facts.service!r}",
                "set CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN, and give that token the policy "
                "that the documentation lists for clients",
            )
    if facts.filtered and _may_read(facts):
        yield Finding(
            "token.cannot-read",
            Severity.ERROR,
            "consul",
            f"Consul reports that it hides instances of {facts.service!r} from the token",
            "give the token the policy that the documentation lists for clients",
        )
    if not facts.allowed:
        yield Finding(
            "token.unknown",
            Severity.NOTE,
            "consul",
            "this Consul does not report what the token may write",
            "try 'kato-consul register'",
        )


def _may_read(facts: DeploymentFacts) -> bool:
    return all(facts.allowed.get(permission, True) for permission in (SERVICE_READ, NODE_READ))


def _check_pool(facts: DeploymentFacts) -> Iterator[Finding]:
    pool = f"service {facts.service!r}"
    if facts.instances is None:
        return  # why they are unknown is a finding already
    for entry in facts.unreadable:
        yield Finding(
            "pool.unreadable",
            Severity.WARNING,
            pool,
            f"an instance's entry in Consul cannot be read, so no client uses it: {entry}",
            "correct its definition, and register it again",
        )
    usable = [observed for observed in facts.instances if observed.instance.usable]
    if not facts.instances:
        if _may_read(facts):  # otherwise they are hidden, which is a finding already
            yield Finding(
                "pool.empty",
                Severity.ERROR,
                pool,
                "no instance is registered",
                "register one with 'kato-consul register', or name another service with --service",
            )
    elif not usable:
        yield Finding(
            "pool.none-usable",
            Severity.ERROR,
            pool,
            f"none of {len(facts.instances)} instances is passing: every request fails",
            f"see the output of their checks: 'kato-consul instances --service "
            f"{shlex.quote(facts.service)}'",
        )
    elif len(usable) == 1:
        yield _single(usable[0], pool, uses_consul=facts.uses_consul)
    yield from _check_same(
        facts,
        "pool.knowledge",
        Severity.ERROR,
        "base_processor_id",
        lambda observed: observed.base_processor_id,
        "they do not share what they learn: start all with the same SERVICE_NAME",
    )
    yield from _check_same(
        facts,
        "pool.version",
        Severity.WARNING,
        "version",
        lambda observed: observed.version,
        "run one version, except during an upgrade",
    )


def _single(only: InstanceFacts, pool: str, *, uses_consul: bool) -> Finding:
    uid = only.instance.uid
    what = f"{uid} is the only usable instance: there is no failover"
    todo = "register a second one"
    if only.proxy or only.gateway:
        kind = "proxy" if only.proxy else "gateway"
        what = f"{uid}, a {kind}, is the only usable address: while it is down, every request fails"
        todo = f"nothing, if another {kind} takes over its address; otherwise run a second one and "
        todo += "register it" if uses_consul else "add its address to KATO_URL"
    elif not uses_consul:
        what = f"{uid} is the only address: there is no failover, unless it is that of a gateway"
        todo = "nothing, if it is a gateway's or a proxy's; otherwise add a second one to KATO_URL"
    return Finding("pool.single", Severity.NOTE, pool, what, todo)


def _check_same(
    facts: DeploymentFacts,
    name: str,
    severity: Severity,
    attribute: str,
    value_of: Callable[[InstanceFacts], str | None],
    todo: str,
) -> Iterator[Finding]:
    values = {
        observed.instance.uid: value
        for observed in facts.instances or ()
        if not observed.proxy and (value := value_of(observed))
    }
    if len(set(values.values())) > 1:
        common, _ = Counter(values.values()).most_common(1)[0]
        others = ", ".join(f"{uid} has {value}" for uid, value in values.items() if value != common)
        yield Finding(
            name,
            severity,
            f"service {facts.service!r}",
            f"{attribute} differs: {others}, the others have {common}",
            todo,
        )
