"""Registration of the proxy in Consul, by the registrar that KATO's instances have."""

from kato_consul._async.registrar import AsyncRegistrar
from kato_consul._definitions.check_definition import CheckDefinition
from kato_consul._definitions.schema import ServiceDefinition
from kato_consul._logging import logger
from kato_consul.errors import KatoConsulError
from kato_consul.proxy.server.options import ServerOptions
from kato_consul.settings import Settings

CHECK_INTERVAL = "2s"
"""A proxy that is not ready any more leaves the gateways within this time."""

USUAL_HOSTS = ("127.0.0.1", "::1", "localhost")
"""Hosts that a proxy has alone at its agent."""

log = logger("proxy")


def registration(options: ServerOptions, name: str) -> ServiceDefinition:
    """Return the proxy as an instance of the service ``name``.

    Without a host of its own it has the address of the agent's node. The agent requests
    ``/ready``; over TLS it does not verify the certificate, which need not be for the address that
    it connects to. If callers need a client certificate, which the agent has none of, it only
    connects. Its id has its address: proxies in several containers may register at one agent.
    """
    address = options.address
    host = "" if address.is_any else address.host
    here = host or ("::1" if ":" in address.host else "127.0.0.1")
    target = f"[{here}]:{address.port}" if ":" in here else f"{here}:{address.port}"
    if options.client_ca is not None:
        check = CheckDefinition(tcp=target, interval=CHECK_INTERVAL)
    else:
        scheme = "https" if options.tls_cert else "http"
        check = CheckDefinition(
            http=f"{scheme}://{target}{options.prefix}/ready",
            interval=CHECK_INTERVAL,
            tls_skip_verify=options.tls_cert is not None,
        )
    own_host = "" if host in ("", *USUAL_HOSTS) else f"{host.replace(':', '.')}-"
    return ServiceDefinition(
        name=name,
        id=f"{name}-{own_host}{address.port}",
        port=address.port,
        address=host,
        scheme="https" if options.tls_cert else "",
        path=options.prefix,
        check=check,
    )


class Registered:
    """Keeps the proxy registered while it serves; nothing if the options do not ask for it."""

    def __init__(self, options: ServerOptions, settings: Settings) -> None:
        self._registrar: AsyncRegistrar | None = None
        if options.register is not None:
            self._registrar = AsyncRegistrar([registration(options, options.register)], settings)

    def start(self) -> None:
        """Register in the background, as soon as Consul answers."""
        if self._registrar is not None:
            self._registrar.register_when_healthy()

    async def end(self) -> None:
        """Deregister. An error of Consul is logged: it does not keep the proxy from ending."""
        if self._registrar is None:
            return
        try:
            await self._registrar.deregister()
        except KatoConsulError as error:
            log.warning("proxy.not_deregistered", why=str(error))
        finally:
            await self._registrar.aclose()
