"""KATO's answers without KATO: as quick as can be, so that they cost next to nothing themselves."""

from collections import Counter

from kato_consul._flow import Reply, Send

STRINGS = ["product_view", "sku-1"]
BODY = b'{"strings":["product_view","sku-1"]}'
JSON = {"content-type": "application/json"}
STM_BOUND = 1_000  # observations that KATO keeps

_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 01 Jan 2030 00:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
_OBSERVED = (
    b'{"status":"okay","session_id":"s","processor_id":"p","stm_length":%d,"time":%d,'
    b'"unique_id":null,"auto_learned_pattern":null}'
)


class Kato:
    """Opens sessions, and counts what each observed. ``name`` makes its sessions' ids its own."""

    def __init__(self, name: int = 0) -> None:
        self._name = name
        self._opened = 0
        self._times: Counter[str] = Counter()

    def body(self, target: str) -> bytes:
        """What is answered to a POST."""
        if target == "/sessions":
            self._opened += 1
            number = (self._name << 64) + self._opened
            return b'{"session_id":"session-%032x-1","session_config":{}}' % number
        self._times[target] += 1
        time = self._times[target]
        return _OBSERVED % (min(time, STM_BOUND), time)

    def reply(self, send: Send) -> Reply:
        """The same as an engine would tell it."""
        return Reply(200, JSON, self.body(send.target))


def on_the_wire(body: bytes) -> bytes:
    """An answer as uvicorn sends it."""
    return _HEAD % (len(body), body)
