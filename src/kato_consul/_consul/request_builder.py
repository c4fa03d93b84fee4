"""Request builder: py-consul builds the requests and parses the responses, but never sends one.

py-consul has the names, parameters and payloads of Consul's API. Its transports are not used:
they can hang, time out a blocking query, and lose the status of a 429 or 503. So its HTTP client is
replaced by one that returns the request instead of sending it.

Importing this module imports py-consul, and with it requests. The first `ConsulApi` imports it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from consul import base  # not `import consul.base`, which Ctrl-C during the import breaks for good
from consul.exceptions import ConsulException

from kato_consul._flow import Reply


@dataclass(frozen=True, slots=True)
class ConsulRequest:
    """A request as py-consul would send it. ``callback`` is py-consul's parser of the response."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    callback: Callable[[Any], Any]

    def parse(self, reply: Reply) -> Any:
        """Parse the response as py-consul does.

        Raises:
            ValueError: py-consul cannot parse it.
        """
        headers = {"X-Consul-Index": reply.headers.get("x-consul-index", "0")}
        try:
            return self.callback(base.Response(reply.status, headers, reply.body.decode()))
        except ConsulException as error:
            raise ValueError(str(error)) from error


class _Recorder(base.HTTPClient):  # type: ignore[misc]  # py-consul is untyped
    """Replaces py-consul's transport: returns the request instead of sending it.

    Paths are used unchanged, because `ConsulApi` escapes the names in them: py-consul would leave a
    "/" in a service name as it is.
    """

    def get(
        self, callback: Any, path: str, params: Any = None, headers: Any = None, raw: bool = False
    ) -> ConsulRequest:
        return self._request("GET", callback, path, params, headers)

    def put(
        self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None
    ) -> ConsulRequest:
        return self._request("PUT", callback, path, params, headers, data)

    def post(
        self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None
    ) -> ConsulRequest:
        return self._request("POST", callback, path, params, headers, data)

    def delete(
        self, callback: Any, path: str, params: Any = None, data: Any = "", headers: Any = None
    ) -> ConsulRequest:
        return self._request("DELETE", callback, path, params, headers, data)

    def close(self) -> None:
        """Do nothing: there is no connection to close."""

    @staticmethod
    def _request(
        method: str, callback: Any, path: str, params: Any, headers: Any, data: str | bytes = b""
    ) -> ConsulRequest:
        target = f"{path}?{urlencode(params)}" if params else path
        body = data.encode() if isinstance(data, str) else data
        return ConsulRequest(method, target, dict(headers or {}), body, callback)


class RequestBuilder(base.Consul):  # type: ignore[misc]  # py-consul is untyped
    """py-consul's client, without address, token and environment: `ConsulApi` adds the first two.

    ``datacenter`` is the one that catalog and health calls read; None is the agent's own.
    """

    def __init__(self, datacenter: str | None) -> None:
        super().__init__(host="", port=0, scheme="http", verify=True, dc=datacenter)

    def prepare_headers(self, token: str | None = None) -> dict[str, str]:
        # The base class takes the token from CONSUL_HTTP_TOKEN.
        return {}

    def http_connect(
        self, host: str, port: int, scheme: str, verify: Any = True, cert: Any = None
    ) -> _Recorder:
        return _Recorder(host, port, scheme, verify, cert)
