"""The proxy: KATO's HTTP API in front of the fleet, for callers in any language.

`serve` serves an ASGI application with what `ServerOptions` say. The extra ``proxy`` has its
dependencies.
"""

from kato_consul.proxy.server.api_keys import ApiKey
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.serve import serve

__all__ = ["ApiKey", "ServerOptions", "serve"]
