"""Session endpoints: a request to a session's path is a call of the client on that session."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any

from starlette.types import Receive, Scope, Send

from kato_consul import AsyncKatoClient, AsyncSession, trace_id
from kato_consul._kato.opening import KEY_METADATA
from kato_consul.errors import KatoConsulError, SessionGone
from kato_consul.proxy.errors import error_reply, problem
from kato_consul.proxy.http import (
    CALLER,
    ROUTE,
    CallerGone,
    Reply,
    RequestHead,
    json_reply,
    read_body,
    read_head,
    send_reply,
)
from kato_consul.proxy.idempotency import (
    IN_HAND,
    MALFORMED,
    KeyInHand,
    KeysInHand,
    MalformedKey,
    key_of,
)
from kato_consul.proxy.open_sessions import OpenSessions
from kato_consul.proxy.refusals import Refusals, not_json
from kato_consul.proxy.session_calls import (
    SessionCall,
    SessionRequest,
    Unusable,
    extension,
    session_asked_for,
)


class Sessions:
    """What the endpoints of all sessions share."""

    def __init__(self, client: AsyncKatoClient) -> None:
        self.open = OpenSessions(client)
        self.refusals = Refusals(client)
        self.keys = KeysInHand()


class _Endpoint(ABC):
    """The ASGI application of one path: reads a request, replies, and maps errors."""

    def __init__(self, sessions: Sessions, route: str) -> None:
        self._sessions = sessions
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._route
        head = read_head(scope)
        try:
            body = await read_body(receive)
        except CallerGone:
            return
        session_id: str = scope["path_params"].get("session_id", "")
        with trace_id(head.trace_id):
            try:
                reply = await self._reply(scope, head, session_id, body)
            except MalformedKey:
                reply = problem(400, "MalformedIdempotencyKey", MALFORMED)
            except KeyInHand:
                reply = problem(409, "RequestInHand", IN_HAND, "unknown")
        await send_reply(send, reply, (b"x-trace-id", head.trace_id.encode()))

    @abstractmethod
    async def _reply(self, scope: Scope, head: RequestHead, session_id: str, body: bytes) -> Reply:
        """Return the reply to a request."""


class SessionEndpoint(_Endpoint):
    """The endpoint of one call on a session."""

    def __init__(self, sessions: Sessions, call: SessionCall, route: str) -> None:
        super().__init__(sessions, route)
        self._call = call

    async def _reply(self, scope: Scope, head: RequestHead, session_id: str, body: bytes) -> Reply:
        try:
            reply = await self._reply_of_session(scope, head, session_id, body)
        except SessionGone:
            await self._sessions.open.forget(session_id)
            return self._call.gone(session_id)
        if not self._call.names_session:
            return reply
        header = (b"x-session-id", session_id.encode())
        return reply._replace(headers=[*reply.headers, header])

    async def _reply_of_session(
        self, scope: Scope, head: RequestHead, session_id: str, body: bytes
    ) -> Reply:
        call, shared = self._call, self._sessions
        key = key_of(head.idempotency_key) if call.method == "POST" else None
        request = SessionRequest(body, scope["query_string"], key)
        current_id, deadline = "", shared.open.deadline()
        try:
            with nullcontext() if key is None else shared.keys.hold(session_id, key):
                session = await shared.open.find(session_id, deadline)
                current_id = session.id or session_id
                if body and call.has_body and not is_json(head.content_type):
                    return not_json(body)
                try:
                    flow = call.flow(request)
                except Unusable:
                    return await shared.refusals.of_session(call.path, request.query, body)
                if call.name == "extend":
                    flow = shared.open.renewing(flow, extension(request.query))
                elif call.name != "exists":  # KATO's does not renew the session
                    flow = shared.open.renewing(flow)
                result = await session._run(call.name, flow, deadline)
        except SessionGone:
            raise
        except KatoConsulError as error:
            return error_reply(error, session_id, current_id, has_key=key is not None)
        if session.id is None:  # the call has ended it
            await shared.open.forget(session_id)
        return json_reply(200, _as_given_out(result, session))


class CreationEndpoint(_Endpoint):
    """The endpoint that creates sessions."""

    async def _reply(self, scope: Scope, head: RequestHead, session_id: str, body: bytes) -> Reply:
        shared = self._sessions
        key, caller = key_of(head.idempotency_key), scope.get(CALLER) or ""
        if body and not is_json(head.content_type):
            return not_json(body)
        try:
            try:
                asked = session_asked_for(body)
            except Unusable:
                return await shared.refusals.of_new_session(body)
            with nullcontext() if key is None else shared.keys.hold(f"/{caller}", key):
                response = await shared.open.create(asked, key, caller)
        except KatoConsulError as error:
            return error_reply(error, has_key=key is not None)
        return json_reply(200, response)


def is_json(content_type: bytes) -> bool:
    """Return whether KATO takes a body with this media type; none counts as JSON."""
    media_type = content_type.split(b";")[0].strip().lower()
    return not media_type or media_type == b"application/json" or media_type.endswith(b"+json")


def _as_given_out(result: dict[str, Any], session: AsyncSession) -> dict[str, Any]:
    """Return a response with the id that the caller knows, and without this package's metadata."""
    if result.get("session_id"):
        result["session_id"] = session.key
    metadata = result.get("metadata")
    if isinstance(metadata, dict) and metadata.get(KEY_METADATA) == session.key:
        del metadata[KEY_METADATA]
    return result
