"""Requests that are passed on to one instance: all paths of KATO's API that belong to no session.

What they answer is about that one instance, unless it is in KATO's stores, which instances share:
patterns, symbols, the number of sessions. ``X-Kato-Instance`` names it in the response.
"""

import re

from starlette.types import Receive, Scope, Send

from kato_consul import AsyncKatoClient, trace_id
from kato_consul._requests.classify import ANY_RESPONSE
from kato_consul._requests.request import Answer, Request
from kato_consul.errors import KatoConsulError
from kato_consul.proxy.errors import error_reply
from kato_consul.proxy.http import ROUTE, CallerGone, Reply, read_body, read_head, send_reply
from kato_consul.proxy.open_sessions import OpenSessions

PATHS = (
    ("GET", "/"),
    ("GET", "/status"),
    ("GET", "/metrics"),
    ("GET", "/metrics/{metric_name}"),
    ("GET", "/stats"),
    ("GET", "/concurrency"),
    ("GET", "/connection-pools"),
    ("GET", "/cache/stats"),
    ("POST", "/cache/invalidate"),
    ("GET", "/distributed-stm/stats"),
    ("GET", "/pattern/{pattern_id}"),
    ("GET", "/percept-data"),
    ("GET", "/cognition-data"),
    ("GET", "/symbols/affinity"),
    ("GET", "/symbols/stats"),
    ("GET", "/symbols/{symbol}/affinity"),
    ("GET", "/sessions/count"),
    ("GET", "/sessions/test/{test_id}"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
)
"""Method and path of each, as in KATO's OpenAPI, which comes last itself."""


SESSION_IN_QUERY = re.compile(r"(?:^|&)session_id=([^&]+)")
"""KATO empties the caches of one session: under the id by which it knows it now."""

INSTANCE = b"x-kato-instance"
"""Header of a response that names the instance which gave it."""

NODE_HEADERS = (b"x-node-id", b"x-test-id")
"""Headers that name the node of a request: KATO reads them on the paths of learned knowledge."""


async def ask_any(
    client: AsyncKatoClient, request: Request, within: float | None = None
) -> tuple[Reply, str]:
    """Send a request to any instance; return its answer, and the instance's uid.

    Args:
        client: the client.
        request: a request that is safe to repeat.
        within: seconds until the deadline; that of the settings unless given.

    Raises:
        KatoConsulError: no instance answered.
    """
    factory = client._factory
    deadline = factory.deadline() if within is None else factory.api.now() + within
    answer: Answer = await client.discovery._run(factory.api.failover.call(request, deadline))
    content_type = answer.reply.headers.get("content-type", "").encode("latin-1")
    return Reply(answer.reply.status, answer.reply.body, content_type), answer.instance.uid


class PassingEndpoint:
    """The ASGI application of a path that is passed on."""

    def __init__(self, client: AsyncKatoClient, sessions: OpenSessions, route: str) -> None:
        self._client = client
        self._sessions = sessions
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._route
        head = read_head(scope)
        try:
            body = await read_body(receive)
        except CallerGone:
            return
        path = scope.get("raw_path") or scope["path"].encode()
        query: str = scope["query_string"].decode("latin-1")
        named = SESSION_IN_QUERY.search(query)
        session_id = named[1] if named else ""
        current_id = self._sessions.current_id(session_id)
        if current_id != session_id:
            query = query.replace(session_id, current_id)
        target = path.decode("latin-1") + (f"?{query}" if query else "")
        request = Request(
            f"{scope['method']} {self._route}",
            scope["method"],
            target,
            body,
            repeatable=True,
            timeout=self._client._factory.api.attempt_timeout,
            answer_policy=ANY_RESPONSE,
            headers={
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in scope["headers"]
                if name in NODE_HEADERS
            },
        )
        headers = [(b"x-trace-id", head.trace_id.encode())]
        with trace_id(head.trace_id):
            try:
                reply, uid = await ask_any(self._client, request)
                if current_id != session_id:
                    body = reply.body.replace(current_id.encode(), session_id.encode())
                    reply = reply._replace(body=body)
                headers.append((INSTANCE, uid.encode("latin-1", "replace")))
            except KatoConsulError as error:
                reply = error_reply(error)
        await send_reply(send, reply, *headers)
