"""Proxy: KATO's own HTTP API in front of all its instances, for applications in any language.

`create_app` is the ASGI application, without a server.
"""

from kato_consul.proxy.app import create_app

__all__ = ["create_app"]
