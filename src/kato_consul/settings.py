"""Settings: immutable, and validated at construction. No other module reads these variables.

A setting that is not given in code is read from its environment variable. Consul's variables are
read as Consul's own tools read them
(https://developer.hashicorp.com/consul/commands#environment-variables).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from kato_consul._addresses import (
    DEFAULT_PORTS,
    LOCAL,
    PATH_FORM,
    ConsulAddress,
    consul_address,
    instance_url,
    is_path_prefix,
)
from kato_consul._environment import (
    FromEnvironment,
    flag,
    from_environment,
    path,
    secret,
    text,
    words,
)
from kato_consul._field_docs import DocWithFields
from kato_consul._header_values import (
    API_KEY,
    CONSUL_TOKEN,
    check_header_name,
    check_token,
    checked_headers,
    checked_token,
)
from kato_consul._protocols import Policy
from kato_consul._secret import Secret, secret_file
from kato_consul.errors import ConfigurationError

ENGINES = ("httptools", "httpx")
"""The values of `Settings.engine`."""

Consistency = Literal["default", "stale", "consistent"]
"""Consul's consistency modes
(https://developer.hashicorp.com/consul/api-docs/features/consistency)."""


SessionJournal = Literal["full", "digest"]
"""The values of `Settings.journal`."""


WhenAllCritical = Literal["fail", "use_all"]
"""The values of `Settings.when_all_critical`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach Consul and KATO.

    A setting that is given in code takes precedence, also None. One that is not given comes from
    the environment variable that is named here, and if that is not set or empty, it has its
    default. All times are in seconds; a path may also be given as text.

    Raises:
        ConfigurationError: a value is invalid, or two settings contradict each other.
    """

    trust_env: bool = True
    """False: read no environment variable; as httpx's ``trust_env``."""
    consul_addr: str | None = from_environment("CONSUL_HTTP_ADDR", text, None)
    """The agent's address: ``host:port``, ``http://…`` or ``https://…``, also with a path, or
    ``unix:///path``. Variable: CONSUL_HTTP_ADDR. Several, separated by commas, are agents of one
    cluster: if one fails, the next is used; a registrar uses the first. Default:
    ``127.0.0.1:8500``; with ``kato_urls`` Consul is not used."""
    consul_ssl: bool = from_environment("CONSUL_HTTP_SSL", flag, False)
    """True: use https, also if the address does not contain it. Variable: CONSUL_HTTP_SSL."""
    consul_verify: bool = from_environment("CONSUL_HTTP_SSL_VERIFY", flag, True)
    """False: do not verify the agent's certificate. Variable: CONSUL_HTTP_SSL_VERIFY."""
    consul_cacert: Path | None = from_environment("CONSUL_CACERT", path, None)
    """CA file to verify the agent's certificate. Variable: CONSUL_CACERT. Default: the CAs of the
    system."""
    consul_capath: Path | None = from_environment("CONSUL_CAPATH", path, None)
    """Directory of CA files to verify the agent's certificate. Variable: CONSUL_CAPATH."""
    consul_client_cert: Path | None = from_environment("CONSUL_CLIENT_CERT", path, None)
    """Client certificate, for an agent that requires one; needs ``consul_client_key``. Variable:
    CONSUL_CLIENT_CERT."""
    consul_client_key: Path | None = from_environment("CONSUL_CLIENT_KEY", path, None)
    """Private key of the client certificate. Variable: CONSUL_CLIENT_KEY."""
    consul_token: Secret | str | None = from_environment("CONSUL_HTTP_TOKEN", secret, None)
    """ACL token, in printable ASCII. Variable: CONSUL_HTTP_TOKEN. Default: no token."""
    consul_token_file: Path | None = from_environment("CONSUL_HTTP_TOKEN_FILE", path, None)
    """A file that contains the ACL token. It is read again when it changes, so that the token can
    be rotated. It takes precedence over ``consul_token``, unless it is empty, or only the token is
    given in code. Variable: CONSUL_HTTP_TOKEN_FILE."""
    consul_auth: Secret | str | None = from_environment("CONSUL_HTTP_AUTH", secret, None)
    """``user:password`` for HTTP basic authentication at a proxy in front of Consul. Variable:
    CONSUL_HTTP_AUTH. Default: none."""
    consul_tls_server_name: str | None = from_environment("CONSUL_TLS_SERVER_NAME", text, None)
    """The name in the agent's certificate, if it is not the host in its address; also sent as SNI.
    Variable: CONSUL_TLS_SERVER_NAME."""
    namespace: str | None = from_environment("CONSUL_NAMESPACE", text, None)
    """Namespace (Consul Enterprise). Variable: CONSUL_NAMESPACE. Default: not sent."""
    partition: str | None = from_environment("CONSUL_PARTITION", text, None)
    """Admin partition (Consul Enterprise). Variable: CONSUL_PARTITION. Default: not sent."""
    datacenter: str | None = None
    """The datacenter whose instances are used. Several, separated by commas, are in order of
    preference: the first with a usable instance. Default: the agent's own."""
    service: str = from_environment("KATO_CONSUL_SERVICE", text, "kato")
    """The name that the instances are registered with; not empty. Variable:
    KATO_CONSUL_SERVICE."""
    tags: tuple[str, ...] = ()
    """Use only instances that have all of these tags. Default: any."""
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Use only instances whose metadata has all of these values. Default: any."""
    filter: str = ""
    """Use only instances that match this expression
    (https://developer.hashicorp.com/consul/api-docs/features/filtering), such as
    ``Service.Meta.version matches "^3"``. Default: any."""
    query: str | None = None
    """A prepared query, by name or id, that is executed instead of a health query. It cannot block,
    so it is executed every ``query_interval`` seconds. It cannot be combined with ``tags``,
    ``meta``, ``filter`` or several datacenters. Default: none."""
    query_interval: float = 10.0
    """Mean seconds between two executions of ``query``, above 0; each interval varies by up to a
    quarter."""
    tagged_address: str = ""
    """Use the address that an instance has with this tag, such as ``wan``, ``lan_ipv6`` or one of
    your own (https://developer.hashicorp.com/consul/docs/services/configuration/services-configuration-reference#tagged_addresses).
    Instances without such an address are used at their own. Default: their own."""
    port_name: str = ""
    """Use the port with this name, of instances that have several (``ports`` of Consul 1.22); an
    instance that has several and none with this name is not used. Default: their default port."""
    when_all_critical: WhenAllCritical = "fail"
    """What to do while Consul lists instances of which none is passing or in warning: ``"fail"``
    uses none; ``"use_all"`` uses all of them but those in maintenance, in case the check is wrong
    and not the instances (as Envoy's panic mode)."""
    consistency: Consistency = "default"
    """Which server responds to a read: ``default`` (the leader), ``stale`` (any server) or
    ``consistent`` (the leader, confirmed by a quorum). See
    https://developer.hashicorp.com/consul/api-docs/features/consistency."""
    agent_cache: bool = False
    """True: the agent responds from its cache, and watches once for all its clients. It cannot be
    combined with ``consistency="consistent"``."""
    state_dir: Path | None = from_environment("KATO_CONSUL_STATE_DIR", path, None)
    """Directory of the saved snapshot, which is used at the start while Consul is unreachable.
    Variable: KATO_CONSUL_STATE_DIR. Default: snapshots are not saved."""
    kato_urls: tuple[str, ...] = from_environment("KATO_URL", words, ())
    """Static list of instances, each ``http://host:port`` or ``https://host:port/path``, which is
    used while Consul is unreachable at the start; without ``consul_addr`` it is used alone.
    Variable: KATO_URL, separated by commas or spaces. Default: none."""
    deadline: float = 30.0
    """Longest time of a call in seconds, above 0; retries and waiting for an instance included."""
    attempt_timeout: float = 10.0
    """Longest time of one attempt on one instance in seconds, above 0."""
    connect_timeout: float = 1.0
    """Longest time to connect in seconds, above 0. It is short because the instances of a service
    are near, and another one may be available."""
    wait_for_instances: float | None = None
    """How long a call waits while Consul lists no usable instance, in seconds; 0: the call fails at
    once. It does not limit the wait for Consul's first response. Default: as long as the call may
    take (``deadline``)."""
    keepalive: float = 4.0
    """How long an idle connection is kept in seconds, above 0. It has to be below 5: KATO's server
    closes idle connections after 5 s. A request on a connection that is being closed may or may not
    be read, and the client cannot find out."""
    engine: str = "httptools"
    """The HTTP engine: ``"httptools"``, or ``"httpx"`` for httpx's transports. Both report exactly
    whether a byte of a request was sent; the first costs a fraction of the second."""
    session_ttl: int | None = None
    """Time to live of new sessions in seconds. Default: KATO's default (3600 s)."""
    zone: str = from_environment("KATO_CONSUL_ZONE", text, "")
    """The client's zone: instances whose metadata has the same ``zone`` are preferred. Variable:
    KATO_CONSUL_ZONE. Default: no preference."""
    balancing: str | Policy = "p2c"
    """The balancing policy, for requests that belong to no session: ``p2c``,
    ``least_outstanding``, ``round_robin``, ``weighted``, ``random``, or a `Policy` of your own."""
    hedge: bool = False
    """True: send a read to a second instance too if it takes longer than the 95th percentile of
    recent reads. Off by default, as with Envoy, gRPC and Finagle, because it costs the instances up
    to 5 % more work."""
    kato_scheme: str = from_environment("KATO_SCHEME", text, "http")
    """``http`` or ``https``: how instances are reached whose metadata has no ``scheme``. Variable:
    KATO_SCHEME. URLs in ``kato_urls`` have their own."""
    kato_path: str = from_environment("KATO_PATH", text, "")
    """Put before the path of each request to instances whose metadata has no ``path``, such as
    ``/kato`` at a gateway. Variable: KATO_PATH. URLs in ``kato_urls`` have their own. Default:
    none."""
    kato_verify: bool = from_environment("KATO_SSL_VERIFY", flag, True)
    """False: do not verify the certificates of instances. Variable: KATO_SSL_VERIFY."""
    kato_cacert: Path | None = from_environment("KATO_CACERT", path, None)
    """CA file to verify the certificates of instances. Variable: KATO_CACERT. Default: the CAs of
    the system."""
    kato_capath: Path | None = from_environment("KATO_CAPATH", path, None)
    """Directory of CA files to verify the certificates of instances. Variable: KATO_CAPATH."""
    kato_client_cert: Path | None = from_environment("KATO_CLIENT_CERT", path, None)
    """Client certificate, for instances that require one; needs ``kato_client_key``. Variable:
    KATO_CLIENT_CERT."""
    kato_client_key: Path | None = from_environment("KATO_CLIENT_KEY", path, None)
    """Private key of the client certificate, without a passphrase. Variable: KATO_CLIENT_KEY."""
    kato_tls_server_name: str | None = from_environment("KATO_TLS_SERVER_NAME", text, None)
    """The name in the certificates of instances, if it is not the address of each; also sent as
    SNI. Variable: KATO_TLS_SERVER_NAME."""
    kato_api_key: Secret | str | None = from_environment("KATO_API_KEY", secret, None)
    """API key for a gateway in front of KATO, in printable ASCII. KATO itself has none. Variable:
    KATO_API_KEY. Default: none."""
    kato_api_key_file: Path | None = from_environment("KATO_API_KEY_FILE", path, None)
    """File that contains the API key; takes precedence over ``kato_api_key``. It is read again when
    it changes. Variable: KATO_API_KEY_FILE."""
    kato_api_key_header: str = from_environment("KATO_API_KEY_HEADER", text, "Authorization")
    """The header that carries the API key: ``Authorization`` as ``Bearer <key>``, any other, such
    as ``X-API-Key`` or ``apikey``, as the key alone. Variable: KATO_API_KEY_HEADER."""
    session_directory: Secret | str | None = from_environment(
        "KATO_CONSUL_SESSION_DIRECTORY", secret, None
    )
    """Where processes agree which of them owns a session: ``consul`` for Consul's KV, or the URL of
    a Redis server, ``redis://…`` or ``rediss://…`` for TLS, which may have a password. Then a key
    is the same session in all processes with this directory and service. Variable:
    KATO_CONSUL_SESSION_DIRECTORY. Default: none; each process has sessions of its own."""
    journal: SessionJournal = from_environment("KATO_CONSUL_JOURNAL", text, "full")
    """What the session directory stores of a session's memory: ``full``, its observations while
    they are small, or ``digest``, which has no content of them. Variable: KATO_CONSUL_JOURNAL."""
    kato_headers: Mapping[str, Secret | str] = field(default_factory=dict, hash=False)
    """Further headers of each request to KATO. Their values are secret. Default: none."""

    def __post_init__(self) -> None:
        self._read_environment()
        self._check_types()
        token = checked_token(self.consul_token, "consul_token", CONSUL_TOKEN)
        object.__setattr__(self, "consul_token", token)
        _ = self.consul_addresses, self.token
        for name in _SECONDS:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
                raise ConfigurationError(
                    f"{name} must be seconds above 0 and up to {MAX_SECONDS:,}, not {value!r}"
                )
        wait: object = self.wait_for_instances
        if wait is not None and not (isinstance(wait, int | float) and 0 <= wait <= MAX_SECONDS):
            raise ConfigurationError(
                f"wait_for_instances must be seconds from 0 to {MAX_SECONDS:,}, or None for the "
                f"whole deadline, not {wait!r}"
            )
        if self.engine not in ENGINES:
            raise ConfigurationError(
                f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}"
            )
        if (self.consul_client_cert is None) != (self.consul_client_key is None):
            raise ConfigurationError(
                "consul_client_cert and consul_client_key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY) "
                "belong together: give both, or neither"
            )
        ttl: Any = self.session_ttl
        if ttl is not None and (not isinstance(ttl, int) or not 0 < ttl <= MAX_SECONDS):
            raise ConfigurationError(
                f"session_ttl must be whole seconds above 0 and up to {MAX_SECONDS:,}, not {ttl!r}"
            )
        for url in self.kato_urls:
            instance_url(url)
        self._check_kato()
        self._check_query()
        self._check_session_directory()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled copy. Another process has not read its token file yet: a mistake is
        told here, and not by a watch in the background."""
        self.__dict__.update(state)
        _ = self.token

    def _read_environment(self) -> None:
        """Set each setting that was not given in code."""
        in_code = {
            one.name
            for one in fields(self)
            if not isinstance(getattr(self, one.name), FromEnvironment)
        }
        environ = os.environ if self.trust_env else {}
        for one in fields(self):
            default = getattr(self, one.name)
            if isinstance(default, FromEnvironment):
                ignored = _SECRET_OF_FILE.get(one.name) in in_code
                object.__setattr__(self, one.name, default.value({} if ignored else environ))

    def _check_types(self) -> None:
        """Convert what has another form in code, and refuse what no other check would."""
        for one in fields(self):
            value = getattr(self, one.name)
            if one.type == Path | None and isinstance(value, str | os.PathLike):
                object.__setattr__(self, one.name, value := Path(value))
            for kind, called in _KINDS:
                if one.type == kind and not isinstance(value, kind):
                    raise ConfigurationError(
                        f"{one.name} must be {called}, not {type(value).__name__}"
                    )
        for name in ("tags", "kato_urls"):
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or not all(map(_is_text, value)):
                raise ConfigurationError(f"{name} must be a tuple of texts, not {value!r}")
            object.__setattr__(self, name, tuple(value))
        if not self.service:
            raise ConfigurationError("service must be the name the instances are registered under")
        meta: Any = self.meta
        if not isinstance(meta, Mapping) or not all(map(_is_text, (*meta, *meta.values()))):
            raise ConfigurationError(f"meta must be a mapping of texts to texts, not {meta!r}")
        auth: Any = self.consul_auth
        if auth is not None and not isinstance(auth, str | Secret):
            raise ConfigurationError(f"consul_auth must be text, not {type(auth).__name__}")
        if isinstance(auth, str):
            object.__setattr__(self, "consul_auth", Secret(auth))

    def _check_kato(self) -> None:
        if self.kato_scheme not in DEFAULT_PORTS:
            raise ConfigurationError(
                f"kato_scheme must be http or https, not {self.kato_scheme!r} (KATO_SCHEME)"
            )
        object.__setattr__(self, "kato_path", self.kato_path.rstrip("/"))
        if not is_path_prefix(self.kato_path):
            raise ConfigurationError(
                f"kato_path {self.kato_path!r} cannot be used (KATO_PATH): {PATH_FORM}"
            )
        if (self.kato_client_cert is None) != (self.kato_client_key is None):
            raise ConfigurationError(
                "kato_client_cert and kato_client_key (KATO_CLIENT_CERT, KATO_CLIENT_KEY) belong "
                "together: give both, or neither"
            )
        token = checked_token(self.kato_api_key, "kato_api_key", API_KEY)
        object.__setattr__(self, "kato_api_key", token)
        object.__setattr__(self, "kato_headers", checked_headers(self.kato_headers))
        check_header_name(self.kato_api_key_header, "kato_api_key_header")
        has_key = self.kato_api_key or self.kato_api_key_file
        if has_key and self.kato_api_key_header.lower() in map(str.lower, self.kato_headers):
            raise ConfigurationError(
                f"kato_headers has {self.kato_api_key_header}, which carries the API key: leave "
                f"one of them out, or name another header in kato_api_key_header"
            )

    def _check_query(self) -> None:
        for name, values in (
            ("consistency", get_args(Consistency)),
            ("when_all_critical", get_args(WhenAllCritical)),
            ("journal", get_args(SessionJournal)),
        ):
            value = getattr(self, name)
            if value not in values:
                raise ConfigurationError(
                    f"{name} must be one of {', '.join(values)}, not {value!r}"
                )
        if self.agent_cache and self.consistency == "consistent":
            raise ConfigurationError(
                "agent_cache and consistency='consistent' contradict each other: the servers do "
                "not confirm a cached answer. Use one of them"
            )
        if "" in self.datacenters:
            raise ConfigurationError(f"datacenter {self.datacenter!r} contains an empty name")
        if not self.query:
            return
        for name in ("tags", "meta", "filter"):
            if getattr(self, name):
                raise ConfigurationError(
                    f"query and {name} cannot be combined: a prepared query has its own filters"
                )
        if len(self.datacenters) > 1:
            raise ConfigurationError(
                "query and several datacenters cannot be combined: a prepared query has its own "
                "failover"
            )

    def _check_session_directory(self) -> None:
        directory = self.session_directory
        text: object = directory.reveal() if isinstance(directory, Secret) else directory
        if text is not None and text != "consul":
            if not isinstance(text, str) or not text.startswith(("redis://", "rediss://")):
                raise ConfigurationError(
                    "session_directory (KATO_CONSUL_SESSION_DIRECTORY) must be consul, or the URL "
                    "of a Redis server: redis://host:6379/0, or rediss:// for TLS"
                )
            directory = Secret(text)  # it may have a password
        elif text == "consul":
            directory = text
            if not self.uses_consul:
                raise ConfigurationError(
                    "session_directory is consul (KATO_CONSUL_SESSION_DIRECTORY), and Consul is "
                    "not used, since only kato_urls is set. Set consul_addr, or use Redis"
                )
        object.__setattr__(self, "session_directory", directory)

    @property
    def consul_address(self) -> str:
        """The address of Consul as it was set, or the default."""
        return LOCAL if self.consul_addr is None else self.consul_addr

    @property
    def consul_addresses(self) -> tuple[ConsulAddress, ...]:
        """The addresses of all agents, in their order."""
        addresses = self.consul_address.split(",")
        if len(addresses) > 1:
            addresses = [address.strip() for address in addresses]
        return tuple(consul_address(address, ssl=self.consul_ssl) for address in addresses)

    @property
    def consul_origins(self) -> tuple[str, ...]:
        """The origins of all agents, in their order: ``scheme://host:port`` or ``unix:///path``."""
        return tuple(address.origin for address in self.consul_addresses)

    @property
    def datacenters(self) -> tuple[str | None, ...]:
        """The datacenters to use, most preferred first; None is the agent's own."""
        if not self.datacenter:
            return (None,)
        return tuple(name.strip() for name in self.datacenter.split(","))

    @property
    def uses_consul(self) -> bool:
        """False if only a static list is set: KATO runs beside the application, without Consul."""
        return self.consul_addr is not None or not self.kato_urls

    @property
    def token(self) -> Secret:
        """The ACL token; empty if there is none. A file is read at each access."""
        return self.token_reader()()

    def token_reader(self) -> Callable[[], Secret]:
        """Return a function that returns the ACL token, and reads its file again when it changes.

        It raises `ConfigurationError` if the file could never be read.
        """
        name = "consul_token_file (CONSUL_HTTP_TOKEN_FILE)"
        return _reader(self.consul_token, self.consul_token_file, name, CONSUL_TOKEN)

    def kato_key_reader(self) -> Callable[[], Secret]:
        """Return a function that returns the API key for KATO, as `token_reader` does the token."""
        name = "kato_api_key_file (KATO_API_KEY_FILE)"
        return _reader(self.kato_api_key, self.kato_api_key_file, name, API_KEY)

    @property
    def auth(self) -> Secret:
        """``user:password`` for basic authentication; empty if there is none."""
        return self.consul_auth if isinstance(self.consul_auth, Secret) else Secret("")


def _reader(
    secret: Secret | str | None, path: Path | None, setting: str, what: str
) -> Callable[[], Secret]:
    """Return a function that returns the secret in a file, or ``secret`` if the file is empty."""
    otherwise = secret if isinstance(secret, Secret) else Secret("")
    if path is None:
        return lambda: otherwise
    file = secret_file(path, setting, partial(check_token, what))
    return lambda: file.current() or otherwise


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: tuple[tuple[Any, str], ...] = (
    (str, "text"),
    (str | None, "text or None"),
    (Path | None, "a path or None"),
    (bool, "True or False"),
)
"""The types of settings that have no check of their own, and what they are called."""

_SECRET_OF_FILE = {"consul_token_file": "consul_token", "kato_api_key_file": "kato_api_key"}
"""A secret that is given in code takes precedence over a file that a variable names."""

MAX_SECONDS = 1_000_000
"""Longest of these times, 11 days: the system's own calls take no arbitrary ones."""

_SECONDS = ("deadline", "attempt_timeout", "connect_timeout", "keepalive", "query_interval")

Settings.__doc__ = DocWithFields(Settings.__doc__)  # type: ignore[assignment]  # for help()
