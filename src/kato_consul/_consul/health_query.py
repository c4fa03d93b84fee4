"""Health queries: the selection of a service's instances, and the response to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from kato_consul._consul.snapshot_decoder import OWN_ADDRESS, AddressChoice, DecodedRecords
from kato_consul._flow import Reply
from kato_consul.errors import ConfigurationError
from kato_consul.models import Snapshot
from kato_consul.settings import Consistency, Settings


@dataclass(frozen=True, slots=True)
class HealthQuery:
    """One health query: the instances to select, the datacenter, and the consistency.

    An instance must have all ``tags`` and match ``filter``, an expression of Consul's.
    ``prepared_query`` is the name or id of a prepared query that is executed instead. With
    ``cached`` the agent may respond from its cache; for a prepared query the cached response may be
    up to ``max_age`` seconds old. ``address`` is which address of an instance is read;
    ``use_critical`` is as in `Snapshot`.
    """

    service: str
    tags: tuple[str, ...] = ()
    filter: str = ""
    datacenter: str | None = None
    prepared_query: str = ""
    consistency: Consistency = "default"
    cached: bool = False
    max_age: int = 0
    address: AddressChoice = OWN_ADDRESS
    use_critical: bool = False

    @property
    def modes(self) -> list[str]:
        """The query parameters for consistency and caching."""
        consistency = [] if self.consistency == "default" else [self.consistency]
        return [*consistency, *(["cached"] if self.cached else [])]

    def consistent(self) -> Self:
        """Return the same query as a consistent, uncached read."""
        return replace(self, consistency="consistent", cached=False)

    @property
    def description(self) -> str:
        """The selection in addition to the service's name, such as `` with tag 'v3' in dc1``, or
        empty."""
        parts = [f"with tag {tag!r}" for tag in self.tags]
        parts += [f"where {self.filter}"] if self.filter else []
        parts += [f"by the prepared query {self.prepared_query!r}"] if self.prepared_query else []
        parts += [f"in {self.datacenter}"] if self.datacenter else []
        return "".join(f" {part}" for part in parts)


def health_queries(settings: Settings) -> tuple[HealthQuery, ...]:
    """Return the queries of the settings: one for each datacenter, in their order."""
    return tuple(
        HealthQuery(
            settings.service,
            tags=settings.tags,
            filter=_filter(settings.meta, settings.filter),
            datacenter=datacenter,
            prepared_query=settings.query or "",
            consistency=settings.consistency,
            cached=settings.agent_cache,
            max_age=int(settings.query_interval),
            address=address_choice(settings),
            use_critical=settings.when_all_critical == "use_all",
        )
        for datacenter in settings.datacenters
    )


def address_choice(settings: Settings) -> AddressChoice:
    """Return which address of each instance the settings choose."""
    return AddressChoice(
        settings.tagged_address, settings.port_name, settings.kato_scheme, settings.kato_path
    )


def quoted(text: str) -> str:
    """Return a text in the quotes of Consul's filters. There are two kinds, without escapes.

    Raises:
        ConfigurationError: neither kind can contain the text.
    """
    if '"' not in text and "\\" not in text and text.isprintable():
        return f'"{text}"'
    if "`" not in text:
        return f"`{text}`"
    raise ConfigurationError(
        f"metadata {text!r} cannot be used in a filter: no quotes of Consul's can contain it"
    )


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """One response to a health query.

    ``staleness`` is how old the content may be, in seconds: the time since the responding server
    had contact with the leader (X-Consul-LastContact), plus the age of the agent's cache entry
    (Age). With ``leaderless`` the server had no leader, so the content may be older by any time.
    ``body`` and ``decoded`` are kept to avoid decoding the same content again.
    """

    snapshot: Snapshot
    index: int
    staleness: float = 0.0
    leaderless: bool = False
    body: bytes = field(default=b"", repr=False)
    decoded: DecodedRecords = field(default_factory=dict, repr=False, compare=False)


def read_response(
    reply: Reply,
    decode: Callable[[int, bytes, DecodedRecords], Snapshot],
    query_index: int,
    last: HealthResponse | None,
) -> HealthResponse:
    """Return the response to a query with the index ``query_index`` (0: none).

    Most blocking queries return without a change. Such a response has the index of the query or
    the same bytes as the last one, and is not decoded: a thousand instances are a megabyte.
    """
    headers = reply.headers
    index = int(headers.get("x-consul-index", "0"))
    decoded: DecodedRecords = last.decoded if last is not None else {}
    if last is not None and (query_index == index > 0 or last.body == reply.body):
        snapshot, body = last.snapshot, last.body
    else:
        snapshot, body = decode(index, reply.body, decoded), reply.body
    filtered = headers.get("x-consul-results-filtered-by-acls") == "true"
    if snapshot.filtered is not filtered:
        snapshot = replace(snapshot, filtered=filtered)
    return HealthResponse(snapshot, index, _staleness(headers), _leaderless(headers), body, decoded)


def _staleness(headers: Mapping[str, str]) -> float:
    contact = headers.get("x-consul-lastcontact", "")  # milliseconds
    age = headers.get("age", "")
    seconds = int(contact) / 1_000 if contact.isdecimal() else 0.0
    return seconds + (int(age) if age.isdecimal() else 0)


def _leaderless(headers: Mapping[str, str]) -> bool:
    # The streaming backend always returns false.
    streaming = headers.get("x-consul-query-backend") == "streaming"
    return headers.get("x-consul-knownleader") == "false" and not streaming


def _filter(meta: Mapping[str, str], expression: str) -> str:
    parts = [
        f"Service.Meta[{quoted(key)}] == {quoted(value)}" for key, value in sorted(meta.items())
    ]
    if expression:
        parts.append(f"({expression})" if parts else expression)
    return " and ".join(parts)
