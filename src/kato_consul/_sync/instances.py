"""Asking an instance, or about a node, for threads."""

from collections.abc import Callable
from typing import Any, TypeVar

from kato_consul._kato import instance_types as answers
from kato_consul._kato import queries
from kato_consul._kato.queries import Query

R = TypeVar("R")

Ask = Callable[[Query[Any]], Any]


class KatoInstance:
    """What belongs to one instance. Made by `KatoClient.instance`."""

    def __init__(self, ask: Ask) -> None:
        self._asker = ask

    def root(self) -> answers.RootResult:
        """Who it is."""
        return self._ask(queries.root())

    def health(self) -> answers.HealthResult:
        """What it says of its health. It says ``healthy`` while its store is away."""
        return self._ask(queries.health())

    def status(self) -> answers.StatusResult:
        """Its version, SERVICE_NAME, sessions and processors."""
        return self._ask(queries.status())

    def metrics(self) -> answers.MetricsResult:
        """Its metrics now."""
        return self._ask(queries.metrics())

    def metric(self, name: str, minutes: int = 10) -> answers.MetricHistoryResult:
        """One metric over the last minutes."""
        return self._ask(queries.metric(name, minutes))

    def stats(self, minutes: int = 10) -> answers.StatsResult:
        """Its statistics over the last minutes."""
        return self._ask(queries.stats(minutes))

    def concurrency(self) -> answers.ConcurrencyResult:
        """How near it is to its limit of requests at once."""
        return self._ask(queries.concurrency())

    def connection_pools(self) -> answers.ConnectionPoolsResult:
        """Its connections to Redis, ClickHouse and Qdrant."""
        return self._ask(queries.connection_pools())

    def cache_stats(self) -> answers.CacheStatsResult:
        """Its metrics cache."""
        return self._ask(queries.cache_stats())

    def cache_invalidate(self, session_id: str | None = None) -> answers.CacheInvalidateResult:
        """Empty its cache, for one of KATO's session ids or for all."""
        return self._ask(queries.cache_invalidate(session_id))

    def distributed_stm(self) -> answers.DistributedStmResult:
        """Its streams of short-term memory."""
        return self._ask(queries.distributed_stm())

    def session_count(self) -> answers.SessionCountResult:
        """How many sessions its store has."""
        return self._ask(queries.session_count())

    def echo(self, test_id: str) -> answers.EchoResult:
        """KATO's own test of its routes. 3.10.1 takes ``test`` for a session id and answers 404."""
        return self._ask(queries.echo(test_id))

    def _ask(self, query: Query[R]) -> R:
        found: R = self._asker(query)
        return found


class KatoNode:
    """What a node has learned: any instance can tell. Made by `KatoClient.node`."""

    def __init__(self, node_id: str, ask: Ask) -> None:
        self.node_id = node_id
        self._asker = ask

    def pattern(self, name: str) -> answers.PatternResult:
        """A learned pattern by its name, ``PTRN|…``.

        Raises:
            NotFound: there is none.
        """
        return self._ask(queries.pattern(self.node_id, name))

    def symbols(self) -> answers.SymbolsResult:
        """The symbols it has learned, with their frequencies."""
        return self._ask(queries.symbols(self.node_id))

    def affinities(self) -> answers.AffinitiesResult:
        """The mean emotives of all its symbols."""
        return self._ask(queries.affinities(self.node_id))

    def affinity(self, symbol: str) -> answers.AffinityResult:
        """The mean emotives of one symbol."""
        return self._ask(queries.affinity(self.node_id, symbol))

    def percept_data(self) -> answers.NodePerceptResult:
        """Deprecated by KATO: see `Session.percept_data`."""
        return self._ask(queries.node_percept(self.node_id))

    def cognition_data(self) -> answers.NodeCognitionResult:
        """Deprecated by KATO: see `Session.cognition_data`."""
        return self._ask(queries.node_cognition(self.node_id))

    def _ask(self, query: Query[R]) -> R:
        found: R = self._asker(query)
        return found
