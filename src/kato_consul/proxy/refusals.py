"""Refusals: KATO's own answer to a request that it does not take.

KATO says exactly which field is wrong, and its words are its own. So the request is sent to it, in
a session that nothing else uses: if KATO takes it after all, no session is changed by that.
"""

import msgspec

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
        return _refused(reply)

    async def of_new_session(self, body: bytes) -> Reply:
        """Return KATO's answer to a POST that is to create a session."""
        return _refused(await self._ask("/sessions", body))

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


def _refused(reply: Reply) -> Reply:
    """Return KATO's answer if it is a refusal. KATO converts what it is given in more ways than
    this proxy."""
    if reply.status < 400:
        return detail_reply(422, "A field of the request has another type than KATO's API says")
    return reply


def not_json(body: bytes) -> Reply:
    """Return KATO's refusal of a body whose media type is not JSON."""
    error = {
        "type": "model_attributes_type",
        "loc": ["body"],
        "msg": NOT_JSON,
        "input": body.decode("utf-8", "replace"),
    }
    return Reply(422, msgspec.json.encode({"detail": [error]}))
