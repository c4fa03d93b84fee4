"""Diagnosis of a deployment, for threads."""

import time
from collections.abc import Callable
from dataclasses import replace

from kato_consul._consul.agents import consul_api
from kato_consul._consul.health_query import address_choice
from kato_consul._directory.choice import directory_of
from kato_consul._doctor.collect import FactCollector, static_facts
from kato_consul._doctor.facts import DeploymentFacts, DirectoryFacts
from kato_consul._doctor.findings import Diagnosis
from kato_consul._doctor.rules import apply_rules
from kato_consul._doctor.session_directory import from_directory
from kato_consul._http.endpoint import Endpoints
from kato_consul._runtime_defaults import clock
from kato_consul._sync.driver import Driver
from kato_consul._sync.keepalive_probe import closed_while_idle
from kato_consul.settings import Settings

LEAVE_WITHIN = 2.0
"""Seconds that the session directory has to end the lease that it was tried with."""


def diagnose(
    settings: Settings | None = None, *, on_progress: Callable[[str], None] | None = None
) -> Diagnosis:
    """Diagnose the deployment of one service: its Consul, its ACL token and its instances.

        diagnosis = diagnose(Settings(consul_addr="10.0.0.1:8500"))
        for finding in diagnosis.findings:
            print(finding.severity.name, finding.where, finding.what, finding.todo)

    It sends requests to Consul, to every instance, and to the session directory, if one is set.
    They change nothing, except for one session for each instance (behind an Envoy two), and one
    entry of the directory, which are created and deleted. It blocks for ``settings.keepalive``
    seconds (4 unless set otherwise) and a little more, to find out whether instances close idle
    connections earlier than a client does. In async code, run it in a thread.

    Args:
        settings: how to reach Consul, and which service; from the environment unless given.
        on_progress: called with a line of text once Consul has listed instances, before the
            requests to them begin.

    Returns:
        The facts and the findings. An unreachable Consul is a finding too, not an exception.

    Raises:
        ConfigurationError: the settings, or the TLS files that they name, cannot be used.
    """
    settings = settings or Settings()
    facts = _collect(settings, on_progress)
    return Diagnosis(facts, apply_rules(facts))


def _directory_facts(settings: Settings, driver: Driver) -> DirectoryFacts:
    directory = directory_of(settings)
    for flow, name in directory.background():
        driver.start(flow, name)
    facts = driver.run(from_directory(directory))
    driver.run(directory.leave(clock() + LEAVE_WITHIN))
    return facts


def _collect(settings: Settings, on_progress: Callable[[str], None] | None) -> DeploymentFacts:
    endpoints = Endpoints(settings)
    driver = Driver(settings, endpoints=endpoints)
    try:
        collector = FactCollector(
            consul_api(settings),
            settings.service,
            settings.keepalive,
            time.time,
            address_choice(settings),
        )
        if settings.uses_consul:
            facts = driver.run(collector.from_consul())
        else:
            facts = static_facts(settings.service, settings.keepalive, settings.kato_urls)
        if facts.instances and on_progress is not None:
            count = len(facts.instances)
            on_progress(
                f"querying {count} instance{'s'[: count - 1]}, and keeping connections idle for "
                f"{settings.keepalive:g} s"
            )
        instances = [
            driver.run(collector.from_instance(listed)) for listed in facts.instances or ()
        ]
        reachable = {
            observed.instance.uid: endpoints.of(observed.instance.origin)
            for observed in instances
            if not observed.unreachable and not observed.instance.address_error
        }
        closed = closed_while_idle(reachable, settings.keepalive)
        if settings.session_directory is not None and not facts.unreachable:
            facts = replace(facts, directory=_directory_facts(settings, driver))
        # Last: by now, registrars have had seconds to change something.
        flapping = driver.run(collector.flapping())
    finally:
        driver.close()
    if facts.instances is None:
        return facts
    return replace(
        facts,
        instances=tuple(
            replace(
                observed,
                closes_idle=closed.get(observed.instance.uid),
                registration=replace(
                    observed.registration,
                    registrars=flapping.get((observed.instance.node, observed.instance.id), ()),
                ),
            )
            for observed in instances
        ),
    )
