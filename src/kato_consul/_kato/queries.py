"""What can be asked of an instance or about a node: each path of KATO's that belongs to no session.

A `Query` is asked of one instance (``client.instance(uid)``), of any of them (``client.node(id)``),
or of all (``client.on_all(queries.health())``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from kato_consul._flow import Flow
from kato_consul._kato import instance_types as answers
from kato_consul._kato.kato_api import KatoApi
from kato_consul._requests.failover import Request
from kato_consul.errors import KatoConsulError, NotFound

R = TypeVar("R")


def _whole(found: Any) -> Any:
    return found


@dataclass(frozen=True, slots=True)
class Query(Generic[R]):
    """One harmless request: ``read`` takes the result out of KATO's JSON."""

    what: str
    target: str
    method: str = "GET"
    needs: tuple[str, ...] = ()
    read: Callable[[Any], Any] = _whole

    def request(self, timeout: float) -> Request:
        """The request: a read, or a write that may be repeated."""
        return Request(
            self.what, self.method, self.target, repeatable=True, timeout=timeout, needs=self.needs
        )


def query_any(api: KatoApi, query: Query[R], deadline: float) -> Flow[R]:
    """Flow: ask whoever the pool's policy says, and others until one answers."""
    found, answer = yield from api.call(query.request(api.attempt_timeout), deadline)
    return _read(query, found, answer.instance.uid)


def query_instance(api: KatoApi, query: Query[R], uid: str, deadline: float) -> Flow[R]:
    """Flow: ask one instance and no other, until it answers or the deadline is over.

    Raises:
        NoInstances: Consul does not list it.
        NoAnswer: it did not answer in time.
    """
    request = query.request(api.attempt_timeout)
    found = yield from api.call_instance(request, uid, deadline)
    return _read(query, found, uid)


def _read(query: Query[R], found: Any, uid: str) -> R:
    result: R = query.read(found)
    if isinstance(result, _Missing):
        raise NotFound(query.what, uid, 404, result.detail)
    return result


@dataclass(frozen=True, slots=True)
class _Missing:
    detail: str


# --- an instance ----------------------------------------------------------------------------


def root() -> Query[answers.RootResult]:
    """Who it is."""
    return Query("root", "/", needs=("version",))


def health() -> Query[answers.HealthResult]:
    """What it says of its health."""
    return Query("health", "/health", needs=("status",))


def status() -> Query[answers.StatusResult]:
    """Its version, SERVICE_NAME, sessions and processors."""
    return Query("status", "/status", needs=("base_processor_id",))


def metrics() -> Query[answers.MetricsResult]:
    """Its metrics now."""
    return Query("metrics", "/metrics", needs=("timestamp",))


def metric(name: str, minutes: int = 10) -> Query[answers.MetricHistoryResult]:
    """One metric over the last minutes."""
    target = f"/metrics/{quote(name, safe='')}?{urlencode({'minutes': minutes})}"
    return Query(f"metric {name}", target, needs=("data_points",))


def stats(minutes: int = 10) -> Query[answers.StatsResult]:
    """Its statistics over the last minutes."""
    return Query("stats", f"/stats?{urlencode({'minutes': minutes})}", needs=("timestamp",))


def concurrency() -> Query[answers.ConcurrencyResult]:
    """How near it is to its limit of requests at once."""
    return Query("concurrency", "/concurrency", needs=("limits",))


def connection_pools() -> Query[answers.ConnectionPoolsResult]:
    """Its connections to Redis, ClickHouse and Qdrant."""
    return Query("connection_pools", "/connection-pools", needs=("status",))


def cache_stats() -> Query[answers.CacheStatsResult]:
    """Its metrics cache."""
    return Query("cache_stats", "/cache/stats", needs=("cache_performance",))


def cache_invalidate(session_id: str | None = None) -> Query[answers.CacheInvalidateResult]:
    """Empty its cache, for one of KATO's session ids or for all."""
    query = f"?{urlencode({'session_id': session_id})}" if session_id is not None else ""
    return Query("cache_invalidate", f"/cache/invalidate{query}", "POST", needs=("status",))


def distributed_stm() -> Query[answers.DistributedStmResult]:
    """Its streams of short-term memory."""
    return Query("distributed_stm", "/distributed-stm/stats", needs=("status",))


def session_count() -> Query[answers.SessionCountResult]:
    """How many sessions its store has."""
    return Query("session_count", "/sessions/count", needs=("active_session_count",))


def echo(test_id: str) -> Query[answers.EchoResult]:
    """KATO's own test of its routes. 3.10.1 takes ``test`` for a session id and answers 404."""
    return Query("echo", f"/sessions/test/{quote(test_id, safe='')}", needs=("test_id",))


# --- a node ---------------------------------------------------------------------------------


def pattern(node_id: str, name: str) -> Query[answers.PatternResult]:
    """A learned pattern by its name. KATO answers 200 for one it has not: that is `NotFound`."""

    def read(found: Any) -> Any:
        inner = found["pattern"]
        if isinstance(inner, dict) and inner.get("status") == "error":
            return _Missing(str(inner.get("message")))
        return inner["pattern"] if isinstance(inner, dict) and "pattern" in inner else inner

    target = f"/pattern/{quote(name, safe='')}?{_node(node_id)}"
    return Query(f"pattern {name}", target, needs=("pattern",), read=read)


def symbols(node_id: str) -> Query[answers.SymbolsResult]:
    """The symbols that a node has learned, with their frequencies."""
    return Query("symbols", f"/symbols/stats?{_node(node_id)}", needs=("symbols",))


def affinities(node_id: str) -> Query[answers.AffinitiesResult]:
    """The mean emotives of all symbols of a node."""
    return Query("affinities", f"/symbols/affinity?{_node(node_id)}", needs=("affinities",))


def affinity(node_id: str, symbol: str) -> Query[answers.AffinityResult]:
    """The mean emotives of one symbol."""
    target = f"/symbols/{quote(symbol, safe='')}/affinity?{_node(node_id)}"
    return Query(f"affinity of {symbol}", target, needs=("affinity",))


def node_percept(node_id: str) -> Query[answers.NodePerceptResult]:
    """Deprecated by KATO: the node's percept data."""
    return Query("node_percept", f"/percept-data?{_node(node_id)}", needs=("percept_data",))


def node_cognition(node_id: str) -> Query[answers.NodeCognitionResult]:
    """Deprecated by KATO: the node's cognition data."""
    return Query("node_cognition", f"/cognition-data?{_node(node_id)}", needs=("cognition_data",))


def _node(node_id: str) -> str:
    return urlencode({"node_id": node_id})


Everywhere = dict[str, R | KatoConsulError]
"""What each instance answered, or why it did not, by uid."""
