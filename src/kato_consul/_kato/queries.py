"""Queries of an instance or a node: every path of KATO's API that does not belong to a session.

A `Query` runs on one instance (``client.instance(uid)``), on any of them (``client.node(id)``), or
on all (``client.on_all(queries.health())``). The queries of a node take its ``node_id`` first;
``client.node(node_id)`` supplies it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from kato_consul._flow import Flow
from kato_consul._kato import instance_types as types
from kato_consul._kato.kato_api import KatoApi
from kato_consul._requests.request import Request
from kato_consul.errors import KatoConsulError, NotFound

R = TypeVar("R")


def _unchanged(response: Any) -> Any:
    return response


@dataclass(frozen=True, slots=True)
class Query(Generic[R]):
    """One request that is safe to repeat.

    ``what`` names it in errors. ``target`` is the path with its query string. ``needs`` are the
    fields that KATO's response must have. ``read`` extracts the result from it.
    """

    what: str
    target: str
    method: str = "GET"
    needs: tuple[str, ...] = ()
    read: Callable[[Any], Any] = _unchanged

    def request(self, timeout: float) -> Request:
        """Return the request. ``timeout`` is in seconds, for one attempt."""
        return Request(
            self.what, self.method, self.target, repeatable=True, timeout=timeout, needs=self.needs
        )


def query_any(api: KatoApi, query: Query[R], deadline: float) -> Flow[R]:
    """Flow: run the query on the instance that the pool's policy picks, or on others if it fails.

    Raises:
        NoInstances, NoResponse, KatoAnswerError: as `KatoApi.call`.
    """
    response, answer = yield from api.call(query.request(api.attempt_timeout), deadline)
    return _result(query, response, answer.instance.uid)


def query_instance(api: KatoApi, query: Query[R], uid: str, deadline: float) -> Flow[R]:
    """Flow: run the query on one instance only, and retry until the deadline.

    Raises:
        NoInstances: Consul does not list the instance.
        NoResponse: it did not respond before the deadline.
        KatoAnswerError: KATO returned an error.
    """
    request = query.request(api.attempt_timeout)
    response = yield from api.call_instance(request, uid, deadline)
    return _result(query, response, uid)


def _result(query: Query[R], response: Any, uid: str) -> R:
    result: R = query.read(response)
    if isinstance(result, _Missing):
        raise NotFound(query.what, uid, 404, result.detail)
    return result


@dataclass(frozen=True, slots=True)
class _Missing:
    detail: str


# --- an instance ----------------------------------------------------------------------------


def root() -> Query[types.RootResult]:
    """Query the name, version and uptime of the service."""
    return Query("root", "/", needs=("version",))


def health() -> Query[types.HealthResult]:
    """Query the health. KATO reports ``healthy`` even while its store is down."""
    return Query("health", "/health", needs=("status",))


def status() -> Query[types.StatusResult]:
    """Query the version, SERVICE_NAME, sessions and processors."""
    return Query("status", "/status", needs=("base_processor_id",))


def metrics() -> Query[types.MetricsResult]:
    """Query the current metrics."""
    return Query("metrics", "/metrics", needs=("timestamp",))


def metric(name: str, minutes: int = 10) -> Query[types.MetricHistoryResult]:
    """Query the history of one metric.

    Args:
        name: KATO's name of it, such as ``kato_requests_total``.
        minutes: how far back, up to now.

    Raises:
        NotFound: KATO has no data for it.
    """
    target = f"/metrics/{quote(name, safe='')}?{urlencode({'minutes': minutes})}"
    return Query(f"metric {name}", target, needs=("data_points",))


def stats(minutes: int = 10) -> Query[types.StatsResult]:
    """Query the time series of all metrics.

    Args:
        minutes: how far back, up to now.
    """
    return Query("stats", f"/stats?{urlencode({'minutes': minutes})}", needs=("timestamp",))


def concurrency() -> Query[types.ConcurrencyResult]:
    """Query the number of concurrent requests and their limit."""
    return Query("concurrency", "/concurrency", needs=("limits",))


def connection_pools() -> Query[types.ConnectionPoolsResult]:
    """Query the connections to Redis, ClickHouse and Qdrant."""
    return Query("connection_pools", "/connection-pools", needs=("status",))


def cache_stats() -> Query[types.CacheStatsResult]:
    """Query the statistics of the pattern cache in Redis."""
    return Query("cache_stats", "/cache/stats", needs=("cache_performance",))


def cache_invalidate(session_id: str | None = None) -> Query[types.CacheInvalidateResult]:
    """Empty the pattern cache.

    Args:
        session_id: KATO's id of the session whose entries are removed; all entries unless given.
    """
    query = f"?{urlencode({'session_id': session_id})}" if session_id is not None else ""
    return Query("cache_invalidate", f"/cache/invalidate{query}", "POST", needs=("status",))


def distributed_stm() -> Query[types.DistributedStmResult]:
    """Query the statistics of the distributed short-term memory."""
    return Query("distributed_stm", "/distributed-stm/stats", needs=("status",))


def session_count() -> Query[types.SessionCountResult]:
    """Query the number of active sessions in the store."""
    return Query("session_count", "/sessions/count", needs=("active_session_count",))


def echo(test_id: str) -> Query[types.EchoResult]:
    """Query KATO's test route.

    Args:
        test_id: any text; KATO returns it.

    Raises:
        NotFound: on 3.10.1, which takes ``test`` for a session id and returns 404.
    """
    return Query("echo", f"/sessions/test/{quote(test_id, safe='')}", needs=("test_id",))


# --- a node ---------------------------------------------------------------------------------


def pattern(node_id: str, name: str) -> Query[types.PatternResult]:
    """Query a learned pattern.

    Args:
        node_id: the node that learned it.
        name: the pattern's name, ``PTRN|<hash>``, as `learn` returns it.

    Raises:
        NotFound: there is no such pattern. KATO itself returns 200, with an error in the body.
    """

    def read(response: Any) -> Any:
        body = response["pattern"]
        if isinstance(body, dict) and body.get("status") == "error":
            return _Missing(str(body.get("message")))
        return body["pattern"] if isinstance(body, dict) and "pattern" in body else body

    target = f"/pattern/{quote(name, safe='')}?{_node(node_id)}"
    return Query(f"pattern {name}", target, needs=("pattern",), read=read)


def symbols(node_id: str) -> Query[types.SymbolsResult]:
    """Query the symbols that a node has learned, with their frequencies.

    Args:
        node_id: the node.
    """
    return Query("symbols", f"/symbols/stats?{_node(node_id)}", needs=("symbols",))


def affinities(node_id: str) -> Query[types.AffinitiesResult]:
    """Query the affinities of all symbols of a node: the sums of their mean emotives.

    Args:
        node_id: the node.
    """
    return Query("affinities", f"/symbols/affinity?{_node(node_id)}", needs=("affinities",))


def affinity(node_id: str, symbol: str) -> Query[types.AffinityResult]:
    """Query the affinities of one symbol: the sums of its mean emotives.

    Args:
        node_id: the node that learned it.
        symbol: the symbol. One that the node has not learned has no affinities.
    """
    target = f"/symbols/{quote(symbol, safe='')}/affinity?{_node(node_id)}"
    return Query(f"affinity of {symbol}", target, needs=("affinity",))


def node_percept(node_id: str) -> Query[types.NodePerceptResult]:
    """Query the node's percept data. Deprecated by KATO: use the session's.

    Args:
        node_id: the node.
    """
    return Query("node_percept", f"/percept-data?{_node(node_id)}", needs=("percept_data",))


def node_cognition(node_id: str) -> Query[types.NodeCognitionResult]:
    """Query the node's cognition data. Deprecated by KATO: use the session's.

    Args:
        node_id: the node.
    """
    return Query("node_cognition", f"/cognition-data?{_node(node_id)}", needs=("cognition_data",))


def _node(node_id: str) -> str:
    return urlencode({"node_id": node_id})


InstanceResults = dict[str, R | KatoConsulError]
"""The result or the error of each instance, by uid."""
