"""Options of the server, checked as a whole before anything listens."""

from dataclasses import dataclass
from pathlib import Path

from kato_consul._addresses import PATH_FORM, instance_url, is_path_prefix
from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.listen_address import ListenAddress, is_loopback
from kato_consul.settings import Settings

MAX_WORKERS = 64


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What a server of the proxy listens on, which callers it serves, and how it ends.

    Attributes:
        listen: ``host:port``, ``[IPv6]:port`` or ``unix:///path``; default ``127.0.0.1:8000``.
        workers: processes that serve, 1 to 64; default 1, which is this process.
        prefix: the path that all others are below, such as ``/kato``; default none.
        api_keys: file of API keys (`ApiKey`), one of which each request needs; default none.
        tls_cert: certificate chain, PEM, for https; needs ``tls_key``. Default: HTTP.
        tls_key: its private key, PEM, without a passphrase.
        client_ca: CAs, PEM; callers need a client certificate of one of them. Default: none.
        insecure: True allows other machines to call without keys and client certificates.
        max_body: bytes that the body of a request may have, 1 or more; default 16 MiB.
        max_connections: connections that are served at a time, 1 or more, by all workers together;
            default 4000.
        rate: requests a second of a key, or of an address while there are no keys, above 0; as many
            may come at once. Default: no limit.
        metrics: ``host:port`` for Prometheus; default: no metrics.
        register: name of the service in Consul that the proxy registers itself as; default: none.
        replace: True takes over the sockets of the proxy that serves the address, and ends it with
            SIGTERM when this one serves. It is no error if there is none.
        share_port: True serves beside other proxies of the address, which go on.
        drain: seconds from a signal to the end of the last request in hand, 0 or more; default 25,
            since Kubernetes kills a container 30 s after the signal.
        idle_within: seconds after which an idle connection is closed, above 0. The default of 120
            is longer than callers keep connections in their pools (Go 90 s, nginx and AWS' load
            balancers 60 s, Java 30 s): a caller that closes first cannot send a request on a
            connection that is being closed.
        head_within: seconds from the first byte of a request to the end of its headers, and for the
            handshake of TLS, above 0; default 10.
        body_within: seconds that the body may take, above 0; default 60.
        send_within: seconds for which a caller may read nothing of its answer, above 0; default 60.

    Raises:
        ConfigurationError: a value is invalid, or two contradict each other.
    """

    listen: str = "127.0.0.1:8000"
    workers: int = 1
    prefix: str = ""
    api_keys: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    insecure: bool = False
    max_body: int = 16 * 1024 * 1024
    max_connections: int = 4000
    rate: float | None = None
    metrics: str | None = None
    register: str | None = None
    replace: bool = False
    share_port: bool = False
    drain: float = 25.0
    idle_within: float = 120.0
    head_within: float = 10.0
    body_within: float = 60.0
    send_within: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", self.prefix.rstrip("/"))
        if not is_path_prefix(self.prefix):
            raise ConfigurationError(f"--prefix {self.prefix!r} cannot be used: {PATH_FORM}")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ConfigurationError(f"--workers must be 1 to {MAX_WORKERS}, not {self.workers}")
        for name in ("max_body", "max_connections", "rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                option = name.replace("_", "-")
                raise ConfigurationError(f"--{option} must be above 0, not {value!r}")
        if self.drain < 0:
            raise ConfigurationError(f"--drain must be 0 or more, not {self.drain!r}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key belong together: give both")
        if self.client_ca is not None and self.tls_cert is None:
            raise ConfigurationError("--client-ca needs TLS: give --tls-cert and --tls-key, too")
        if self.replace and self.share_port:
            raise ConfigurationError(
                "--replace and --share-port contradict each other: the first ends the proxy that "
                "serves the address, the second leaves it"
            )
        self._check_addresses()

    def _check_addresses(self) -> None:
        address = self.address
        if self.metrics is not None:
            self.metrics_address  # noqa: B018 - it raises
        if not (self.is_local or self.api_keys or self.client_ca or self.insecure):
            address.resolve("--listen")  # a host that does not exist needs no keys
            raise ConfigurationError(
                f"--listen {self.listen} can be reached from other machines, and any of them could "
                f"read and write every session: give --api-keys or --client-ca, listen on "
                f"127.0.0.1, or allow it with --insecure"
            )
        if self.register is not None and address.path:
            raise ConfigurationError(
                "--register needs --listen with a host and a port: Consul lists no unix sockets"
            )

    @property
    def address(self) -> ListenAddress:
        """What the server listens on."""
        return ListenAddress.parse("--listen", self.listen)

    @property
    def metrics_address(self) -> ListenAddress | None:
        """Where Prometheus reads the metrics."""
        if self.metrics is None:
            return None
        address = ListenAddress.parse("--metrics", self.metrics)
        if address.path:
            raise ConfigurationError("--metrics must be host:port: Prometheus reads no unix socket")
        return address

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        address = self.address
        return bool(address.path) or is_loopback(address.host)

    @property
    def url(self) -> str:
        """The URL below which the server answers."""
        if self.address.path:
            return f"{self.listen}{self.prefix}"
        return f"{'https' if self.tls_cert else 'http'}://{self.address}{self.prefix}"

    def check_settings(self, settings: Settings) -> None:
        """Check that the server is not its own upstream, and that its workers agree on sessions.

        Raises:
            ConfigurationError: it is, or they do not.
        """
        address = self.address
        if self.workers > 1 and settings.session_directory is None:
            raise ConfigurationError(
                "--workers above 1 needs a session directory: two workers without one write to the "
                "same session, and observations are lost. Use --session-directory consul or "
                "redis://host:6379/0"
            )
        for url in settings.kato_urls:
            target = instance_url(url)
            same = target.host == address.host or (
                is_loopback(target.host) and (self.is_local or address.is_any)
            )
            if not address.path and same and target.port == address.port:
                raise ConfigurationError(
                    f"KATO_URL names this proxy itself, {url}: it would send each request to "
                    f"itself. KATO_URL is for its callers: leave it unset here, and the proxy "
                    f"finds the instances in Consul, or set it to the addresses of KATO"
                )
        if self.register == settings.service:
            raise ConfigurationError(
                f"--register {self.register} is the service whose instances this proxy uses: it "
                f"would send requests to itself. Choose another name, such as kato-proxy"
            )
