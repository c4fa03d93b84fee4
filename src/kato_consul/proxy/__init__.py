"""Proxy: KATO's own HTTP API in front of all its instances, for applications in any language.

`create_app` returns the ASGI application, `serve` serves one as `ServerOptions` say. The extra
``proxy`` has the dependencies.
"""

from kato_consul.proxy.app import create_app
from kato_consul.proxy.server.api_keys import ApiKey
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.proxy.server.serve import serve

__all__ = ["ApiKey", "ServerOptions", "create_app", "serve"]
