"""What to ask Consul about a service, and what is seen of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from kato_consul._consul.snapshot_decoder import DecodedRecords
from kato_consul._flow import Reply
from kato_consul.errors import ConfigurationError
from kato_consul.models import Snapshot
from kato_consul.settings import Consistency, Settings


@dataclass(frozen=True, slots=True)
class HealthQuery:
    """One question: which instances, of which datacenter, and how sure the answer has to be.

    ``tags`` have all to be there; ``filter`` is an expression of Consul's. ``query`` is a prepared
    query, asked instead. ``cached``: the agent's cache will do, and for a prepared query an answer
    that is ``max_age`` seconds old.
    """

    service: str
    tags: tuple[str, ...] = ()
    filter: str = ""
    datacenter: str | None = None
    query: str = ""
    consistency: Consistency = "default"
    cached: bool = False
    max_age: int = 0

    @property
    def modes(self) -> list[str]:
        """The query parameters that say how sure the answer has to be."""
        chosen = [] if self.consistency == "default" else [self.consistency]
        return [*chosen, *(["cached"] if self.cached else [])]

    def consistent(self) -> Self:
        """The same question to the leader itself, past every cache."""
        return replace(self, consistency="consistent", cached=False)

    @property
    def description(self) -> str:
        """What it asks for beyond the service's name: `` with tag 'v3' in dc1``; maybe empty."""
        parts = [f"with tag {tag!r}" for tag in self.tags]
        parts += [f"where {self.filter}"] if self.filter else []
        parts += [f"by the prepared query {self.query!r}"] if self.query else []
        parts += [f"in {self.datacenter}"] if self.datacenter else []
        return "".join(f" {part}" for part in parts)


def health_queries(settings: Settings) -> tuple[HealthQuery, ...]:
    """The questions that settings ask: one for each datacenter, in their order."""
    return tuple(
        HealthQuery(
            settings.service,
            tags=settings.tags,
            filter=_filter(settings.meta, settings.filter),
            datacenter=datacenter,
            query=settings.query or "",
            consistency=settings.consistency,
            cached=settings.agent_cache,
            max_age=int(settings.query_interval),
        )
        for datacenter in settings.datacenters
    )


def quoted(text: str) -> str:
    """A text as Consul's filters take it: nothing is escaped inside quotes, so one of two kinds.

    Raises:
        ConfigurationError: it holds both kinds.
    """
    if '"' not in text and "\\" not in text and text.isprintable():
        return f'"{text}"'
    if "`" not in text:
        return f"`{text}`"
    raise ConfigurationError(
        f"metadata {text!r} cannot be looked for: no quotes of Consul's filters would hold it"
    )


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """What is seen of one answer.

    ``behind`` are the seconds that its content may be old: since the server that answered heard
    from the leader (X-Consul-LastContact), or the agent's cache from a server (Age).
    ``leaderless``: who answered knows no leader, so it may be older than anybody can say.
    """

    snapshot: Snapshot
    index: int
    staleness: float = 0.0
    leaderless: bool = False
    body: bytes = field(default=b"", repr=False)
    memory: DecodedRecords = field(default_factory=dict, repr=False, compare=False)


def read_response(
    reply: Reply,
    read: Callable[[int, bytes, DecodedRecords], Snapshot],
    asked: int,
    last: HealthResponse | None,
) -> HealthResponse:
    """Look at an answer to a question with the index ``asked`` (0: none).

    A wake-up without a change, by far the most there are, is told by its index, or by the very same
    bytes, and not read: a thousand instances are a megabyte.
    """
    headers = reply.headers
    index = int(headers.get("x-consul-index", "0"))
    memory: DecodedRecords = last.memory if last is not None else {}
    if last is not None and (asked == index > 0 or last.body == reply.body):
        snapshot, body = last.snapshot, last.body
    else:
        snapshot, body = read(index, reply.body, memory), reply.body
    return HealthResponse(snapshot, index, _behind(headers), _leaderless(headers), body, memory)


def _behind(headers: Mapping[str, str]) -> float:
    contact = headers.get("x-consul-lastcontact", "")  # milliseconds
    age = headers.get("age", "")
    seconds = int(contact) / 1_000 if contact.isdecimal() else 0.0
    return seconds + (int(age) if age.isdecimal() else 0)


def _leaderless(headers: Mapping[str, str]) -> bool:
    # The streaming backend does not know: it says false while all is well.
    streaming = headers.get("x-consul-query-backend") == "streaming"
    return headers.get("x-consul-knownleader") == "false" and not streaming


def _filter(meta: Mapping[str, str], given: str) -> str:
    parts = [
        f"Service.Meta[{quoted(key)}] == {quoted(value)}" for key, value in sorted(meta.items())
    ]
    parts += [f"({given})"] if given and parts else [given] if given else []
    return " and ".join(parts)
