"""Settings: frozen, checked when made, and the only reader of the environment.

Consul's variables are read as Consul's own tools read them
(https://developer.hashicorp.com/consul/commands#environment-variables). A value given in code wins
over a file, and a file over the environment.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from kato_consul._addresses import LOCAL, check_instance_url, consul_origin
from kato_consul._protocols import Policy
from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError

ENGINES = ("httptools", "httpx")
"""What `Settings.engine` may name."""

Consistency = Literal["default", "stale", "consistent"]
"""Who may answer a read (https://developer.hashicorp.com/consul/api-docs/features/consistency)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach Consul and KATO. `Settings.from_env` fills in what the environment says.

    Times are seconds.
    """

    consul_addr: str | None = None
    """``host:port``, ``http://…``, ``https://…`` or ``unix:///path``; CONSUL_HTTP_ADDR. Several,
    with commas, are agents of one cluster: another is asked when one does not answer; a registrar
    keeps to the first. None is ``127.0.0.1:8500``, or no Consul at all beside ``kato_urls``."""
    consul_ssl: bool = False
    """Use https although the address does not say so; CONSUL_HTTP_SSL."""
    consul_verify: bool = True
    """Check the agent's certificate; CONSUL_HTTP_SSL_VERIFY."""
    consul_cacert: Path | None = None
    """CA file for the agent's certificate; CONSUL_CACERT."""
    consul_capath: Path | None = None
    """Folder of CA files; CONSUL_CAPATH."""
    consul_client_cert: Path | None = None
    """Our own certificate, if the agent asks for one; CONSUL_CLIENT_CERT."""
    consul_client_key: Path | None = None
    """Its key; CONSUL_CLIENT_KEY."""
    consul_token: Secret | str | None = None
    """ACL token; CONSUL_HTTP_TOKEN_FILE, else CONSUL_HTTP_TOKEN."""
    consul_auth: Secret | str | None = None
    """``user:password`` for a proxy in front of Consul; CONSUL_HTTP_AUTH."""
    consul_tls_server_name: str | None = None
    """The name that the agent's certificate has, where its address is another; also sent as SNI;
    CONSUL_TLS_SERVER_NAME."""
    namespace: str | None = None
    """Of Consul Enterprise; CONSUL_NAMESPACE."""
    partition: str | None = None
    """Of Consul Enterprise; CONSUL_PARTITION."""
    datacenter: str | None = None
    """Where to look for instances; None is the agent's own datacenter. Several, with commas, are
    asked in this order: the first that has an instance to use."""
    service: str = "kato"
    """The name the instances are registered under; KATO_CONSUL_SERVICE."""
    tags: tuple[str, ...] = ()
    """Only instances that have all of these tags."""
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Only instances whose metadata has these values."""
    filter: str = ""
    """Only instances for which this expression of Consul's holds, such as
    ``Service.Meta.version matches "^3"``."""
    query: str | None = None
    """A prepared query, by name or id, to execute instead of asking for the service's health. It
    cannot block, and is executed every ``query_interval`` seconds."""
    query_interval: float = 10.0
    """Seconds, a quarter more or less, between two executions of ``query``."""
    consistency: Consistency = "default"
    """``stale`` lets any server answer, ``consistent`` has the leader ask the others first."""
    agent_cache: bool = False
    """Let the agent answer from its cache, and watch for all its clients together."""
    state_dir: Path | None = None
    """A folder for the last good snapshot, to start with while Consul is away;
    KATO_CONSUL_STATE_DIR."""
    kato_urls: tuple[str, ...] = ()
    """Where instances are, to start with while Consul is away, or without any: ``http://host:port``
    each; KATO_URL, several with commas or blanks."""
    deadline: float = 30.0
    """Longest a call may take in all, failovers and waiting for an instance included."""
    attempt_timeout: float = 10.0
    """Longest one attempt on one instance may take."""
    connect_timeout: float = 1.0
    """Longest to wait for a connection: instances of a service are near, and another may be up."""
    keepalive: float = 4.0
    """Longest a connection stays unused. KATO's server closes them after 5 s: ours must be sooner,
    or a request meets the close on its way and nobody knows whether it was read."""
    engine: str = "httptools"
    """What carries requests over the wire: ``"httptools"``, or ``"httpx"`` for httpx's transports.
    Both say exactly whether a request left; the first costs a fraction."""
    session_ttl: int | None = None
    """What new sessions ask KATO for; None is KATO's default (3600 s)."""
    zone: str = ""
    """Where this client is: instances whose metadata has the same ``zone`` are asked first;
    KATO_CONSUL_ZONE."""
    balancing: str | Policy = "p2c"
    """Who gets requests that belong to no session: ``p2c``, ``least_outstanding``,
    ``round_robin``, ``weighted``, ``random``, or a `Policy` of your own."""
    hedge: bool = False
    """Ask a second instance too when a read takes longer than 95 of 100 did of late. Off, as with
    Envoy, gRPC and Finagle: it costs the instances up to 5 % more work."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "consul_token", _checked_token(self.consul_token))
        if isinstance(self.consul_auth, str):
            object.__setattr__(self, "consul_auth", Secret(self.consul_auth))
        _ = self.consul_origins
        for name in _SECONDS:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigurationError(f"{name} must be seconds above 0, not {value!r}")
        if self.engine not in ENGINES:
            raise ConfigurationError(
                f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}"
            )
        if not self.service:
            raise ConfigurationError("service must be the name the instances are registered under")
        if (self.consul_client_cert is None) != (self.consul_client_key is None):
            raise ConfigurationError(
                "consul_client_cert and consul_client_key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY) "
                "belong together: give both, or neither"
            )

        for name in ("tags", "kato_urls"):
            given = getattr(self, name)  # a lone text would become one tag for each letter
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        for url in self.kato_urls:
            check_instance_url(url)
        self._check_question()

    def _check_question(self) -> None:
        if self.consistency not in get_args(Consistency):
            raise ConfigurationError(
                f"consistency must be one of {', '.join(get_args(Consistency))}, "
                f"not {self.consistency!r}"
            )
        if self.agent_cache and self.consistency == "consistent":
            raise ConfigurationError(
                "agent_cache and consistency='consistent' contradict each other: an answer from "
                "the agent's cache was not agreed on by servers. Take one of them"
            )
        if "" in self.datacenters:
            raise ConfigurationError(f"datacenter {self.datacenter!r} holds an empty name")
        if not self.query:
            return
        for name in ("tags", "meta", "filter"):
            if getattr(self, name):
                text = f"query and {name} do not go together: a prepared query has its own filters"
                raise ConfigurationError(text)
        if len(self.datacenters) > 1:
            text = "query and several datacenters do not go together: it has its own failover"
            raise ConfigurationError(text)

    @property
    def consul_address(self) -> str:
        """Where Consul is, as people write it."""
        return LOCAL if self.consul_addr is None else self.consul_addr

    @property
    def consul_origin(self) -> str:
        """Where requests to Consul go: scheme, host and port, or ``unix:///path``; the first."""
        return self.consul_origins[0]

    @property
    def consul_origins(self) -> tuple[str, ...]:
        """The same for each agent."""
        return tuple(
            consul_origin(one.strip() if "," in self.consul_address else one, ssl=self.consul_ssl)
            for one in self.consul_address.split(",")
        )

    @property
    def datacenters(self) -> tuple[str | None, ...]:
        """The datacenters to look in, most preferred first; None is the agent's own."""
        if not self.datacenter:
            return (None,)
        return tuple(one.strip() for one in self.datacenter.split(","))

    @property
    def uses_consul(self) -> bool:
        """False for who was given instances, and no Consul: KATO beside the application."""
        return self.consul_addr is not None or not self.kato_urls

    @property
    def token(self) -> Secret:
        """The ACL token; an empty one is none."""
        return self.consul_token if isinstance(self.consul_token, Secret) else Secret("")

    @property
    def auth(self) -> Secret:
        """``user:password``; an empty one is none."""
        return self.consul_auth if isinstance(self.consul_auth, Secret) else Secret("")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Settings from the environment; ``given`` ones (by field name, None means not given) win.

        Raises:
            ConfigurationError: for a value that cannot be used, with the variable's name.
        """
        env = os.environ if environ is None else environ
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigurationError(f"no such setting: {', '.join(sorted(unknown))}")
        found: dict[str, Any] = {}
        for name, variable, read in _VARIABLES:
            text = env.get(variable, "")
            if text and given.get(name) is None and (value := read(variable, text)) is not None:
                found[name] = value
        found.update({name: value for name, value in given.items() if value is not None})
        return cls(**found)


def _checked_token(token: Any) -> Secret | None:
    """A token that can travel in a header; the error does not repeat it."""
    if token is None:
        return None
    if isinstance(token, str):
        token = Secret(token.strip())
    if not isinstance(token, Secret):
        raise ConfigurationError(f"consul_token must be text, not {type(token).__name__}")
    if not all(33 <= ord(sign) <= 126 for sign in token.reveal()):
        raise ConfigurationError(
            "the Consul token holds a blank, a line break or a sign that is not ASCII: does its "
            "file hold something else as well?"
        )
    return token


def _text(variable: str, text: str) -> str:
    return text


def _path(variable: str, text: str) -> Path:
    return Path(text)


def _secret(variable: str, text: str) -> Secret:
    return Secret(text.strip())


def _secret_file(variable: str, text: str) -> Secret | None:
    try:
        # An empty file says nothing, so that the variable counts.
        content = Path(text).read_text(encoding="utf-8").strip()
        return Secret(content) if content else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{variable}: cannot read {text}: {reason}") from None


def _flag(variable: str, text: str) -> bool:
    # What Go's strconv.ParseBool takes, since Consul's own tools read these with it.
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ConfigurationError(f"{variable} must be true or false, not {text!r}")


def _list(variable: str, text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


_SECONDS = ("deadline", "attempt_timeout", "connect_timeout", "keepalive", "query_interval")

# In this order: a later row wins, so the token's file is read after the token.
_VARIABLES = (
    ("consul_addr", "CONSUL_HTTP_ADDR", _text),
    ("consul_ssl", "CONSUL_HTTP_SSL", _flag),
    ("consul_verify", "CONSUL_HTTP_SSL_VERIFY", _flag),
    ("consul_cacert", "CONSUL_CACERT", _path),
    ("consul_capath", "CONSUL_CAPATH", _path),
    ("consul_client_cert", "CONSUL_CLIENT_CERT", _path),
    ("consul_client_key", "CONSUL_CLIENT_KEY", _path),
    ("consul_token", "CONSUL_HTTP_TOKEN", _secret),
    ("consul_token", "CONSUL_HTTP_TOKEN_FILE", _secret_file),
    ("consul_auth", "CONSUL_HTTP_AUTH", _secret),
    ("consul_tls_server_name", "CONSUL_TLS_SERVER_NAME", _text),
    ("namespace", "CONSUL_NAMESPACE", _text),
    ("partition", "CONSUL_PARTITION", _text),
    ("service", "KATO_CONSUL_SERVICE", _text),
    ("zone", "KATO_CONSUL_ZONE", _text),
    ("state_dir", "KATO_CONSUL_STATE_DIR", _path),
    ("kato_urls", "KATO_URL", _list),
)
