"""py-consul as a builder of requests.

py-consul knows names, parameters and payloads. Its transports are not used: they can hang, time
out a blocking query, and lose the status of a 429 or 503. So its HTTP client is replaced by one
that returns the request instead of sending it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import consul.base

from kato_consul._secret import Secret


@dataclass(frozen=True, slots=True)
class ConsulRequest:
    """A request that py-consul would have sent; ``callback`` reads the answer."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    callback: Callable[[Any], Any]


class _Recorder(consul.base.HTTPClient):  # type: ignore[misc]  # py-consul is untyped
    """Takes py-consul's place of a transport: gives the request back instead of sending it.

    Paths are taken as they come, since names are escaped by `ConsulCalls`: py-consul would leave a
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
        """Nothing is open."""

    @staticmethod
    def _request(
        method: str, callback: Any, path: str, params: Any, headers: Any, data: str | bytes = b""
    ) -> ConsulRequest:
        target = f"{path}?{urlencode(params)}" if params else path
        body = data.encode() if isinstance(data, str) else data
        return ConsulRequest(method, target, dict(headers or {}), body, callback)


class RequestBuilder(consul.base.Consul):  # type: ignore[misc]  # py-consul is untyped
    """py-consul's client with nothing read from the environment: `Settings` is its only reader."""

    def __init__(self, origin: str, token: Secret, datacenter: str | None) -> None:
        super().__init__(host=origin, port=0, scheme="http", verify=True, dc=datacenter)
        # The base class lets CONSUL_HTTP_TOKEN win over a token given in code. Ours is final.
        self.token = token

    def prepare_headers(self, token: str | None = None) -> dict[str, str]:
        return {"X-Consul-Token": self.token.reveal()} if self.token else {}

    def http_connect(
        self, host: str, port: int, scheme: str, verify: Any = True, cert: Any = None
    ) -> _Recorder:
        return _Recorder(host, port, scheme, verify, cert)
