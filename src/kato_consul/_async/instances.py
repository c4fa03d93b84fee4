"""Queries of one instance, and of what a node has learned, on asyncio.

Each query of KATO's API is defined once, in `kato_consul.queries`; here it becomes a method.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

from kato_consul._kato import queries
from kato_consul._kato.queries import Query

P = ParamSpec("P")
R = TypeVar("R")

RunQuery = Callable[[Query[Any]], Awaitable[Any]]


class _Queries:
    """An object whose methods run queries. ``bound`` holds the first arguments of each query."""

    def __init__(self, run: RunQuery, *bound: str) -> None:
        self._run = run
        self._bound = bound


def _of_instance(
    query: Callable[P, Query[R]],
) -> Callable[Concatenate[_Queries, P], Coroutine[Any, Any, R]]:
    return _method(query, bound=0)


def _of_node(
    query: Callable[Concatenate[str, P], Query[R]],
) -> Callable[Concatenate[_Queries, P], Coroutine[Any, Any, R]]:
    return _method(query, bound=1)


def _method(query: Callable[..., Query[R]], *, bound: int) -> Callable[..., Coroutine[Any, Any, R]]:
    """Return a method that runs ``query``; its object supplies the first ``bound`` arguments."""

    @functools.wraps(query)
    async def method(self: _Queries, *args: object, **kwargs: object) -> R:
        result: R = await self._run(query(*self._bound, *args, **kwargs))
        return result

    signature = inspect.signature(query)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # shown by help()
        parameters=[own, *list(signature.parameters.values())[bound:]],
        return_annotation=get_args(signature.return_annotation)[0],
    )
    return method


class AsyncKatoInstance(_Queries):
    """The API of one instance. Returned by `AsyncKatoClient.instance`.

    Its methods have the parameters and results of the queries of the same name in
    `kato_consul.queries`. Each raises `NoInstances` if Consul does not list the instance,
    `NoResponse` if it does not answer before the deadline, and `KatoAnswerError` if it answers with
    an error.
    """

    root = _of_instance(queries.root)
    health = _of_instance(queries.health)
    status = _of_instance(queries.status)
    metrics = _of_instance(queries.metrics)
    metric = _of_instance(queries.metric)
    stats = _of_instance(queries.stats)
    concurrency = _of_instance(queries.concurrency)
    connection_pools = _of_instance(queries.connection_pools)
    cache_stats = _of_instance(queries.cache_stats)
    cache_invalidate = _of_instance(queries.cache_invalidate)
    distributed_stm = _of_instance(queries.distributed_stm)
    session_count = _of_instance(queries.session_count)
    echo = _of_instance(queries.echo)


class AsyncKatoNode(_Queries):
    """What a node has learned; any instance can answer. Returned by `AsyncKatoClient.node`.

    Its methods have the parameters and results of the queries of the same name in
    `kato_consul.queries`, without the node. Each raises `NoResponse` if no instance answers before
    the deadline, and `KatoAnswerError` if one answers with an error.
    """

    def __init__(self, node_id: str, run: RunQuery) -> None:
        super().__init__(run, node_id)
        self.node_id = node_id

    pattern = _of_node(queries.pattern)
    symbols = _of_node(queries.symbols)
    affinities = _of_node(queries.affinities)
    affinity = _of_node(queries.affinity)
    percept_data = _of_node(queries.node_percept)
    cognition_data = _of_node(queries.node_cognition)
