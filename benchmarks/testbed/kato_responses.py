"""Prepared KATO responses, cheap enough to add almost nothing to a measurement."""

from collections import Counter

from kato_consul._flow import Reply, Send

STRINGS = ["product_view", "sku-1"]
BODY = b'{"strings":["product_view","sku-1"]}'
JSON = {"content-type": "application/json"}
STM_LIMIT = 1_000  # observations that KATO keeps

_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 01 Jan 2030 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
_OBSERVED = (
    b'{"status":"okay","session_id":"s","processor_id":"p","stm_length":%d,"time":%d,'
    b'"unique_id":null,"auto_learned_pattern":null}'
)


class PreparedKato:
    """Opens sessions and counts the observations of each. ``name`` makes session ids unique."""

    def __init__(self, name: int = 0) -> None:
        self._name = name
        self._opened = 0
        self._observations: Counter[str] = Counter()

    def body(self, target: str) -> bytes:
        """Return the body of the response to a POST."""
        if target == "/sessions":
            self._opened += 1
            number = (self._name << 64) + self._opened
            return b'{"session_id":"session-%032x-1","session_config":{}}' % number
        self._observations[target] += 1
        time = self._observations[target]
        return _OBSERVED % (min(time, STM_LIMIT), time)

    def reply(self, send: Send) -> Reply:
        """Return the same response as an engine would."""
        return Reply(200, JSON, self.body(send.target))


def as_http(body: bytes) -> bytes:
    """Return the response as uvicorn sends it."""
    return _HEAD % (len(body), body)
