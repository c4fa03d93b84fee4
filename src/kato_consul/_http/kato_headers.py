"""Headers of requests to KATO: the API key of a gateway in front of it, and headers of one's own.

They are added where a request is sent, and never to one for Consul. No step, error or log has them.
"""

from kato_consul._flow import Reply
from kato_consul._secret import Secret
from kato_consul.settings import Settings

HIDDEN = b"***"
"""Takes the place of a secret in a response."""

SHORTEST_HIDDEN = 4
"""Characters of the shortest value that is hidden in responses. A shorter one is no secret, and may
be a part of any text."""


class KatoHeaders:
    """The headers that the settings add to each request to KATO.

    Raises:
        ConfigurationError: the file of the API key cannot be read, or no header can carry it.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed = {
            name: value.reveal()
            for name, value in settings.kato_headers.items()
            if isinstance(value, Secret)  # all of them are
        }
        self._key_header = settings.kato_api_key_header
        self._read_key = settings.kato_key_reader()
        self._key = Secret("")
        self._key_before = Secret("")
        self._lines = ""
        self._render(self._read_key())

    def __bool__(self) -> bool:
        return bool(self._lines)

    def lines(self) -> str:
        """Return the headers as lines of a request."""
        self._read_key_again()
        return self._lines

    def all(self) -> dict[str, str]:
        """Return the headers by name."""
        self._read_key_again()
        return self._by_name()

    def hidden_in(self, reply: Reply) -> Reply:
        """Return a reply without the secrets: an error page may repeat the request's headers."""
        body = reply.body
        keys = (self._key.reveal(), self._key_before.reveal())  # a request may have had either
        for value in (*self._fixed.values(), *keys):
            if len(value) >= SHORTEST_HIDDEN:
                body = body.replace(value.encode("ascii"), HIDDEN)
        return reply if body is reply.body else Reply(reply.status, reply.headers, body)

    def _read_key_again(self) -> None:
        if (key := self._read_key()) is not self._key:
            self._render(key)

    def _render(self, key: Secret) -> None:
        if key != self._key:
            self._key_before = self._key
        self._key = key
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in self._by_name().items())

    def _by_name(self) -> dict[str, str]:
        key = self._key.reveal()
        prefix = "Bearer " if self._key_header.lower() == "authorization" else ""
        return {**self._fixed, **({self._key_header: prefix + key} if key else {})}


def kato_headers(settings: Settings) -> KatoHeaders | None:
    """Return the headers that the settings add to each request to KATO; None if there are none.

    Raises:
        ConfigurationError: as for `KatoHeaders`.
    """
    if not (settings.kato_headers or settings.kato_api_key or settings.kato_api_key_file):
        return None
    return KatoHeaders(settings)
