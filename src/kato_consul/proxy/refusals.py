"""Refusals: KATO's own answer to a request that it does not take.

KATO says exactly which field is wrong, and its words are its own. So the request is sent to it, in
a session that nothing else uses: if KATO takes it after all, no session is changed by that.
"""

from kato_consul import AsyncKatoClient
from kato_consul._kato.opening import DEFAULT_CONFIG
from kato_consul._kato.session_state import SessionState
from kato_consul._kato.whole_responses import create
from kato_consul._requests.classify import ANY_RESPONSE
from kato_consul._requests.request import Answer, Request
from kato_consul.proxy.http import Reply, detail_reply

NODE = "kato-consul-proxy"
"""The node of that session."""

KEPT_FOR = 60
"""Seconds that KATO keeps that session after its last use."""

NOT_JSON = "Input should be a valid dictionary or object to extract fields from"
NOT_SUPPORTED = "A value is of another type, or in another range, than KATO's API documents"


class Refusals:
    """Lets KATO refuse requests."""

    def __init__(self, client: AsyncKatoClient) -> None:
        self._client = client
        self._session_id = ""

    async def of_session(self, path: str, query: bytes, body: bytes) -> Reply:
        """Return KATO's answer to a POST to ``path`` below a session."""
        for _ in range(2):
            if not self._session_id:
                await self._open()
            target = f"/sessions/{self._session_id}/{path}"
            reply = await self._ask(f"{target}?{query.decode('latin-1')}".rstrip("?"), body)
            if reply.status != 404:
                break
            self._session_id = ""  # it has expired
        if reply.status < 400 or reply.status >= 500:  # what KATO took may make it fail from now on
            self._session_id = ""
        return _refused(reply, "body" if body else "query")

    async def of_new_session(self, body: bytes) -> Reply:
        """Return KATO's answer to a POST that is to create a session."""
        return _refused(await self._ask("/sessions", body), "body")

    async def _open(self) -> None:
        factory = self._client._factory
        asked = {"node_id": NODE, "config": dict(DEFAULT_CONFIG), "ttl_seconds": KEPT_FOR}
        flow = create(asked)(factory.api, SessionState("", ""), factory.deadline())
        self._session_id = (await self._client.discovery._run(flow))["session_id"]

    async def _ask(self, target: str, body: bytes) -> Reply:
        factory = self._client._factory
        request = Request(
            "checking a request",
            "POST",
            target,
            body,
            repeatable=True,
            timeout=factory.api.attempt_timeout,
            answer_policy=ANY_RESPONSE,
        )
        answer: Answer = await self._client.discovery._run(
            factory.api.failover.call(request, factory.deadline())
        )
        content_type = answer.reply.headers.get("content-type", "")
        return Reply(answer.reply.status, answer.reply.body, content_type.encode("latin-1"))


def _refused(reply: Reply, part: str) -> Reply:
    """Return KATO's answer if it is a refusal. KATO takes what this proxy cannot keep, such as NaN.

    ``part`` of the request, "body" or "query", is the one that is refused then.
    """
    return reply if reply.status >= 400 else refusal("unsupported", part, NOT_SUPPORTED)


def not_json(body: bytes) -> Reply:
    """Return KATO's refusal of a body whose media type is not JSON."""
    given = body.decode("utf-8", "replace")
    return refusal("model_attributes_type", "body", NOT_JSON, input=given)


def refusal(kind: str, part: str, message: str, **more: str) -> Reply:
    """Return a 422 in KATO's form, about a part of the request."""
    return detail_reply(422, [{"type": kind, "loc": [part], "msg": message, **more}])
