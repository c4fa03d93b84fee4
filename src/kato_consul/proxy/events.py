"""Events: ``/ws/events``, KATO's WebSocket of created and deleted sessions.

Each process of KATO sends the events of the sessions that were created and deleted in it. So the
proxy listens to all instances while it has a subscriber, and passes on what each of them sends.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from kato_consul import AsyncKatoClient, Instance, queries
from kato_consul._http.endpoint import Endpoint, Endpoints
from kato_consul._logging import logger
from kato_consul.errors import KatoConsulError
from kato_consul.proxy.http import ROUTE
from kato_consul.proxy.open_sessions import OpenSessions

PATH = "/ws/events"

CONNECT_WITHIN = 2.0
"""Seconds that connecting to an instance may take. A subscriber gets its first message when all are
connected, or have failed: from then on it misses no event."""

RECONNECT_AFTER = 1.0
"""Seconds between two attempts to connect to an instance."""

MAX_WAITING = 1_000
"""Messages that wait for a subscriber that does not read them. With more, it is disconnected."""

TOO_SLOW = 1013
"""Close code: try again later (RFC 6455, 7.4, and its registry)."""

log = logger("proxy")


class _Event(msgspec.Struct):
    """What is read of an event."""

    event_type: str
    data: dict[str, Any]


_event_decoder = msgspec.json.Decoder(_Event)


class Subscription:
    """The messages that wait for one subscriber.

    ``too_slow`` is set once too many wait; later ones are dropped.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)
        self.too_slow = asyncio.Event()
        self.get = self._queue.get

    def put(self, message: str) -> None:
        """Add a message."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.too_slow.set()


class EventHub:
    """Passes the events of all instances on to all subscribers.

    It listens only while there is one.
    """

    def __init__(self, client: AsyncKatoClient, sessions: OpenSessions) -> None:
        self._client = client
        self._sessions = sessions
        self._endpoints: Endpoints | None = None
        self._subscriptions: set[Subscription] = set()
        self._following: asyncio.Task[None] | None = None
        self._listeners: dict[str, _Listener] = {}

    @contextlib.asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Subscribe in the block. It begins when all instances are connected, or have failed."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        try:
            await self._all_connected()
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                await self.close()

    async def close(self) -> None:
        """Stop listening."""
        tasks = [one.task for one in self._listeners.values()]
        if self._following is not None:
            tasks.append(self._following)
        self._following = None
        self._listeners.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _all_connected(self) -> None:
        with contextlib.suppress(KatoConsulError, TimeoutError):
            async with asyncio.timeout(CONNECT_WITHIN):
                self._listen(await self._usable())
                for listener in list(self._listeners.values()):
                    await listener.tried.wait()

    async def _usable(self) -> dict[str, Instance]:
        snapshot = await self._client.discovery.snapshot()
        return {instance.uid: instance for instance in snapshot.usable}

    async def _follow(self) -> None:
        async for snapshot in self._client.discovery.changes():
            self._listen({instance.uid: instance for instance in snapshot.usable})

    def _listen(self, instances: dict[str, Instance]) -> None:
        for uid in [*self._listeners]:
            if uid not in instances:
                self._listeners.pop(uid).task.cancel()
        if self._endpoints is None:
            self._endpoints = Endpoints(self._client.discovery.settings)
        for uid, instance in instances.items():
            if uid not in self._listeners:
                endpoint = self._endpoints.of(instance.origin)
                self._listeners[uid] = _Listener(self, uid, endpoint)

    def publish(self, message: str) -> None:
        """Pass a message of an instance on."""
        try:
            event = _event_decoder.decode(message)
        except msgspec.MsgspecError:
            return  # such as the answer to a ping
        kind, data = event.event_type, event.data
        if kind == "state.snapshot":  # each subscriber gets one of its own
            return
        if kind == "session.destroyed" and self._sessions.goes_on(str(data.get("session_id"))):
            return
        for subscription in self._subscriptions:
            subscription.put(message)


class _Listener:
    """The connection to one instance, made again when it ends.

    ``tried`` is set once it was connected, or the first attempt has failed.
    """

    def __init__(self, hub: EventHub, uid: str, endpoint: Endpoint) -> None:
        self._hub = hub
        self._uid = uid
        self._endpoint = endpoint
        self.tried = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        to, failed = self._endpoint, False
        scheme = "ws" if to.tls is None else "wss"
        while True:
            try:
                async with connect(
                    f"{scheme}://{to.host}{to.prefix}{PATH}",
                    host=to.address,
                    port=to.port,
                    ssl=to.tls,
                    server_hostname=to.server_name,
                    additional_headers=to.headers.all() if to.headers is not None else None,
                    open_timeout=CONNECT_WITHIN,
                    proxy=None,
                ) as upstream:
                    self.tried.set()
                    failed = False
                    async for message in upstream:
                        if isinstance(message, str):
                            self._hub.publish(message)
            except (OSError, TimeoutError, WebSocketException) as error:
                if not failed:
                    log.info("proxy.no_events", instance=self._uid, why=str(error))
                failed = True
            self.tried.set()
            await asyncio.sleep(RECONNECT_AFTER)


class EventsEndpoint:
    """``/ws/events``: a snapshot first, then each event; ``ping`` is answered with ``pong``."""

    def __init__(self, client: AsyncKatoClient, hub: EventHub) -> None:
        self._client = client
        self._hub = hub

    async def __call__(self, websocket: WebSocket) -> None:
        websocket.scope[ROUTE] = PATH
        await websocket.accept()
        async with self._hub.subscribe() as subscription:
            subscription.put(await self._snapshot())
            tasks = [
                asyncio.create_task(_send(websocket, subscription)),
                asyncio.create_task(_receive(websocket, subscription)),
                asyncio.create_task(subscription.too_slow.wait()),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if subscription.too_slow.is_set():
            await websocket.close(TOO_SLOW)

    async def _snapshot(self) -> str:
        status, count = "healthy", 0
        try:
            factory = self._client._factory
            found = await self._client.discovery._run(factory.query_any(queries.session_count()))
            count = found["active_session_count"]
        except KatoConsulError:
            status = "unhealthy"
        event = {
            "event_type": "state.snapshot",
            "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat(),
            "data": {"active_sessions": count, "system_status": status},
        }
        return json.dumps(event)


async def _send(websocket: WebSocket, subscription: Subscription) -> None:
    while True:
        await websocket.send_text(await subscription.get())


async def _receive(websocket: WebSocket, subscription: Subscription) -> None:
    """Answer pings until the subscriber has gone."""
    with contextlib.suppress(WebSocketDisconnect, KeyError):  # KeyError: binary data
        while True:
            if await websocket.receive_text() == "ping":
                subscription.put("pong")
