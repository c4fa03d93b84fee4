"""Following: writes the configuration of a gateway again when Consul reports a change."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kato_consul.errors import ConfigurationError, ConsulUnreachable, KatoConsulError
from kato_consul.gateways.files import ConfigFile
from kato_consul.gateways.placing import Rejected
from kato_consul.gateways.pool import GatewayPool, gateway_pool
from kato_consul.models import Snapshot, Source
from kato_consul.settings import Settings

RETRY_AFTER = 10.0
"""Seconds after which a configuration that was not accepted is tried again."""

MIN_INTERVAL = 1.0
"""The least seconds between two changes of a configuration: each reload leaves an old process of
the gateway behind, which stays until its requests have ended."""

POLL = 0.5
"""Seconds between two looks whether Consul still answers."""


class GatewayEvent(StrEnum):
    """What became of a configuration."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    NOT_WRITTEN = "not_written"
    NO_INSTANCES = "no_instances"
    LEFT_OUT = "left_out"
    CONSUL_ERROR = "consul_error"
    CONSUL_RECOVERED = "consul_recovered"


@dataclass(frozen=True)
class GatewayReport:
    """One event, for people to read.

    Attributes:
        event: What happened.
        text: It in words.
    """

    event: GatewayEvent
    text: str


class Watched(Protocol):
    """What is followed: a `kato_consul.Discovery`."""

    settings: Settings

    @property
    def last_error(self) -> KatoConsulError | None:
        """Why the last request to Consul failed; None while Consul answers."""

    def wait_for_change(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """Return the current snapshot as soon as it differs from ``seen``, or after a timeout."""


def apply_snapshot(
    snapshot: Snapshot, files: Sequence[ConfigFile], *, recheck: bool = False
) -> Iterator[GatewayReport]:
    """Render the files from a snapshot and put them in place; yield what became of it.

    A snapshot without a server changes nothing: requests then fail as they would without one, and
    an instance that Consul has lost, and which works, is not taken away.

    Args:
        snapshot: What Consul reports.
        files: The files of the gateway.
        recheck: Check a file also if its text is the one that is there.
    """
    pool = gateway_pool(snapshot)
    for why in pool.left_out:
        yield GatewayReport(GatewayEvent.LEFT_OUT, f"left out: {why}")
    if not pool.servers:
        yield GatewayReport(
            GatewayEvent.NO_INSTANCES,
            f"{snapshot.summary()}; none can be used, so the configuration stays as it is",
        )
        return
    written = False
    try:
        for file in files:
            written = file.placement.place(file.render(pool), recheck=recheck) or written
    except (Rejected, ConfigurationError) as error:
        yield GatewayReport(GatewayEvent.NOT_WRITTEN, f"{error}\nthe file stays as it was")
    except OSError as error:
        why = f"{file.placement.path} cannot be written: {error.strerror or error}"
        yield GatewayReport(GatewayEvent.NOT_WRITTEN, why)
    else:
        event = GatewayEvent.WRITTEN if written else GatewayEvent.UNCHANGED
        yield GatewayReport(event, f"{_listing(pool)}: {event}")


def follow(discovery: Watched, files: Sequence[ConfigFile]) -> Iterator[GatewayReport]:
    """Write the files again when a discovery reports a change; yield what happens, without an end.

    Of a snapshot that an earlier run saved nothing is used: the file that is there is at least as
    new. Nor is a static list (``KATO_URL``) used until Consul answers, unless there is no Consul.
    """
    seen: Snapshot | None = None
    last_error: KatoConsulError | None = None
    failed_at: float | None = None
    written_at = float("-inf")
    while True:
        snapshot = discovery.wait_for_change(seen, POLL)
        previous, last_error = last_error, discovery.last_error
        if last_error is not None and previous is None:
            yield GatewayReport(GatewayEvent.CONSUL_ERROR, str(last_error))
        if last_error is None and previous is not None:
            yield GatewayReport(GatewayEvent.CONSUL_RECOVERED, "Consul answers again")
        now = time.monotonic()
        retries = failed_at is not None and now >= failed_at + RETRY_AFTER
        is_new, seen = snapshot is not seen, snapshot
        if snapshot is None or not (is_new or retries) or not _is_current(snapshot, discovery):
            continue
        if (pause := written_at + MIN_INTERVAL - now) > 0:
            time.sleep(pause)
            seen = snapshot = discovery.wait_for_change(None, POLL) or snapshot
        failed_at = None
        for report in apply_snapshot(snapshot, files):
            if report.event is GatewayEvent.NOT_WRITTEN:
                failed_at = time.monotonic()
            if report.event is GatewayEvent.WRITTEN:
                written_at = time.monotonic()
            yield report


def first_snapshot(discovery: Watched, timeout: float) -> Snapshot:
    """Return the first snapshot that `follow` would use.

    Raises:
        ConsulError: Consul did not answer within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    seen: Snapshot | None = None
    while (remaining := deadline - time.monotonic()) > 0:
        seen = discovery.wait_for_change(seen, min(remaining, POLL))
        if seen is not None and _is_current(seen, discovery):
            return seen
    raise discovery.last_error or ConsulUnreachable(
        discovery.settings.consul_address, f"it has not listed the instances within {timeout:g} s"
    )


def _is_current(snapshot: Snapshot, discovery: Watched) -> bool:
    source = Source.CONSUL if discovery.settings.uses_consul else Source.STATIC
    return snapshot.source is source


def _listing(pool: GatewayPool) -> str:
    count = len(pool.servers)
    return f"{count} instance{'s'[: count - 1]} of {pool.service}"
