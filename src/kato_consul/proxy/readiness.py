"""Health and readiness.

``/health`` is KATO's: the words of one instance, or, if none answers, KATO's own for that. It is
always 200, as with KATO, so it tells that the proxy lives. ``/ready`` is 200 only while a call on a
session would be served: an instance answers, its store does, and the session directory does.
"""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from kato_consul import AsyncKatoClient
from kato_consul._kato.journal import Journal
from kato_consul._kato.session_state import SessionState
from kato_consul._requests.classify import ANY_RESPONSE
from kato_consul._requests.request import Request
from kato_consul.errors import KatoConsulError
from kato_consul.proxy.errors import error_reply
from kato_consul.proxy.http import ROUTE, Reply, json_reply, send_reply
from kato_consul.proxy.passed_on import INSTANCE, ask_any

WITHIN = 2.0
"""Seconds that a probe may take: most probes wait for no longer."""

FRESH = 0.5
"""Seconds for which an answer is used again: several probes may ask at the same time."""

NO_SESSION = "kato-consul-ready"
"""The id, and the key, of a session that is looked up, and that does not exist."""


class HealthEndpoint:
    """``GET /health``."""

    def __init__(self, client: AsyncKatoClient) -> None:
        self._client = client
        self._started = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = "/health"
        request = Request(
            "health",
            "GET",
            "/health",
            repeatable=True,
            timeout=WITHIN / 2,
            answer_policy=ANY_RESPONSE,
            wait=0.0,
        )
        try:
            reply, uid = await ask_any(self._client, request, WITHIN)
            reply = reply._replace(headers=[(INSTANCE, uid.encode("latin-1", "replace"))])
        except KatoConsulError as error:
            reply = json_reply(200, self._unhealthy(type(error).__name__))
        await send_reply(send, reply)

    def _unhealthy(self, issue: str) -> dict[str, object]:
        return {
            "status": "unhealthy",
            "processor_status": "unavailable",
            "service_name": self._client.discovery.settings.service,
            "uptime_seconds": time.monotonic() - self._started,
            "issues": [f"No instance answers: {issue}"],
            "metrics_collected": 0,
            "last_collection": 0.0,
            "active_sessions": 0,
            "timestamp": datetime.now(UTC).isoformat(),
        }


class ReadyEndpoint:
    """``GET /ready``."""

    def __init__(self, client: AsyncKatoClient) -> None:
        self._client = client
        self._reply = Reply(503, b"")
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = "/ready"
        async with self._asking:
            if time.monotonic() >= self._until:
                self._reply = await self._ask()
                self._until = time.monotonic() + FRESH
        await send_reply(send, self._reply)

    async def _ask(self) -> Reply:
        client = self._client
        # All proxies ask the same instance first. One that hangs must not make them unready: there
        # is time for another one.
        api = replace(client._factory.api, attempt_timeout=WITHIN / 2)
        state = SessionState(NO_SESSION, "")
        state.journal = Journal(session_id=NO_SESSION)
        deadline = api.now() + WITHIN
        try:
            await client.discovery._run(api.session_exists("ready", state, deadline))
            if client._shared is not None:
                directory = client._shared.directory
                await client.discovery._run(directory.entry(NO_SESSION, deadline))
        except KatoConsulError as error:
            reply = error_reply(error)
            return Reply(503, reply.body, reply.content_type, reply.headers)
        return json_reply(200, {"status": "ready"})
