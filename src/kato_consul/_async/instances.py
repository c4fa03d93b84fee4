"""Asking an instance, or about a node, on asyncio."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from kato_consul._kato import instance_types as answers
from kato_consul._kato import queries
from kato_consul._kato.queries import Query

R = TypeVar("R")

Ask = Callable[[Query[Any]], Awaitable[Any]]


class AsyncKatoInstance:
    """What belongs to one instance. Made by `AsyncKatoClient.instance`."""

    def __init__(self, ask: Ask) -> None:
        self._asker = ask

    async def root(self) -> answers.RootResult:
        """Who it is."""
        return await self._ask(queries.root())

    async def health(self) -> answers.HealthResult:
        """What it says of its health. It says ``healthy`` while its store is away."""
        return await self._ask(queries.health())

    async def status(self) -> answers.StatusResult:
        """Its version, SERVICE_NAME, sessions and processors."""
        return await self._ask(queries.status())

    async def metrics(self) -> answers.MetricsResult:
        """Its metrics now."""
        return await self._ask(queries.metrics())

    async def metric(self, name: str, minutes: int = 10) -> answers.MetricHistoryResult:
        """One metric over the last minutes."""
        return await self._ask(queries.metric(name, minutes))

    async def stats(self, minutes: int = 10) -> answers.StatsResult:
        """Its statistics over the last minutes."""
        return await self._ask(queries.stats(minutes))

    async def concurrency(self) -> answers.ConcurrencyResult:
        """How near it is to its limit of requests at once."""
        return await self._ask(queries.concurrency())

    async def connection_pools(self) -> answers.ConnectionPoolsResult:
        """Its connections to Redis, ClickHouse and Qdrant."""
        return await self._ask(queries.connection_pools())

    async def cache_stats(self) -> answers.CacheStatsResult:
        """Its metrics cache."""
        return await self._ask(queries.cache_stats())

    async def cache_invalidate(
        self, session_id: str | None = None
    ) -> answers.CacheInvalidateResult:
        """Empty its cache, for one of KATO's session ids or for all."""
        return await self._ask(queries.cache_invalidate(session_id))

    async def distributed_stm(self) -> answers.DistributedStmResult:
        """Its streams of short-term memory."""
        return await self._ask(queries.distributed_stm())

    async def session_count(self) -> answers.SessionCountResult:
        """How many sessions its store has."""
        return await self._ask(queries.session_count())

    async def echo(self, test_id: str) -> answers.EchoResult:
        """KATO's own test of its routes. 3.10.1 takes ``test`` for a session id and answers 404."""
        return await self._ask(queries.echo(test_id))

    async def _ask(self, query: Query[R]) -> R:
        found: R = await self._asker(query)
        return found


class AsyncKatoNode:
    """What a node has learned: any instance can tell. Made by `AsyncKatoClient.node`."""

    def __init__(self, node_id: str, ask: Ask) -> None:
        self.node_id = node_id
        self._asker = ask

    async def pattern(self, name: str) -> answers.PatternResult:
        """A learned pattern by its name, ``PTRN|…``.

        Raises:
            NotFound: there is none.
        """
        return await self._ask(queries.pattern(self.node_id, name))

    async def symbols(self) -> answers.SymbolsResult:
        """The symbols it has learned, with their frequencies."""
        return await self._ask(queries.symbols(self.node_id))

    async def affinities(self) -> answers.AffinitiesResult:
        """The mean emotives of all its symbols."""
        return await self._ask(queries.affinities(self.node_id))

    async def affinity(self, symbol: str) -> answers.AffinityResult:
        """The mean emotives of one symbol."""
        return await self._ask(queries.affinity(self.node_id, symbol))

    async def percept_data(self) -> answers.NodePerceptResult:
        """Deprecated by KATO: see `AsyncSession.percept_data`."""
        return await self._ask(queries.node_percept(self.node_id))

    async def cognition_data(self) -> answers.NodeCognitionResult:
        """Deprecated by KATO: see `AsyncSession.cognition_data`."""
        return await self._ask(queries.node_cognition(self.node_id))

    async def _ask(self, query: Query[R]) -> R:
        found: R = await self._asker(query)
        return found
