"""Redis URLs: what redis-py is given of them, and how errors name the server.

A URL may hold a password, so it is a `Secret`: it is in no error, no log and no repr, and neither
is an exception of a library that may quote it.
"""

from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kato_consul._flow import Cause, Failure, RedisOutcome, RedisRefused, RedisReply
from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError

DEFAULT_PORT = 6379

STALL_TIMEOUT = 2.0
"""Seconds between two bytes of a reply, or of the login. Most steps have a shorter timeout."""

MAX_IDLE = 8
"""Idle connections that a client keeps. It has two background flows; calls come and go."""

FORM = (
    "write it like redis://user:password@host:6379/0, or rediss:// for TLS, with each character of "
    "user and password that is no letter or digit as %XX"
)

_INSTALL = "pip install 'kato-consul[redis]'"

_TLS_OPTIONS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
    }
)
"""What the query of a ``rediss://`` URL may set, by redis-py's names."""


def check_redis(url: Secret) -> None:
    """Check that the URL can be used, and import redis-py.

    Raises:
        ConfigurationError: it cannot, or redis-py is not installed.
    """
    try:
        import redis.asyncio  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"the session directory is in Redis, and the package redis is missing: {_INSTALL}"
        ) from error
    connection_options(url)


def redis_name(url: Secret) -> str:
    """Return what errors and logs call the server: ``Redis at host:port/db``.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    options = connection_options(url)
    host = options["host"]
    return f"Redis at {f'[{host}]' if ':' in host else host}:{options['port']}/{options['db']}"


def connection_options(url: Secret) -> dict[str, Any]:
    """Return the arguments of redis-py's connection classes: host, port, db, and what logs in.

    redis-py's own retries are off: flows retry. The protocol is RESP 2, which every server has.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    from redis.connection import parse_url

    try:
        parts = urlsplit(url.reveal())
        unusable = _why_unusable(parts)
        options = {} if unusable else dict(parse_url(url.reveal()))  # type: ignore[no-untyped-call]
    except ValueError:  # it may quote a password: "Port could not be cast to integer value as …"
        raise ConfigurationError(
            f"the URL of the session directory cannot be read: {FORM}"
        ) from None
    if unusable:
        raise ConfigurationError(f"the URL of the session directory {unusable}: {FORM}")
    options.pop("connection_class", None)
    host, port, db = options.pop("host", "localhost"), options.pop("port", DEFAULT_PORT), 0
    username, password = options.pop("username", None), options.pop("password", None)
    db = options.pop("db", db)
    unknown = sorted(set(options) - (_TLS_OPTIONS if uses_tls(url) else frozenset()))
    if unknown:
        raise ConfigurationError(
            f"the URL of the session directory has the option {unknown[0]}: it may have those of "
            f"rediss:// only: {', '.join(sorted(_TLS_OPTIONS))}"
        )
    if uses_tls(url):
        options = {"ssl_check_hostname": True, **options}
    return {
        **options,
        **_without_greeting(),
        "host": host,
        "port": port,
        "db": db,
        "username": username,
        "password": password,
        "protocol": 2,
        "socket_timeout": STALL_TIMEOUT,
        "socket_connect_timeout": STALL_TIMEOUT,
    }


def _without_greeting() -> dict[str, None]:
    """Return the arguments with which redis-py does not send its name and version on a new
    connection: two exchanges more, for which a slow server has no time within a step."""
    if find_spec("redis.driver_info") is not None:
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None}


def uses_tls(url: Secret) -> bool:
    """Return whether the connections to the server use TLS."""
    return url.reveal().startswith("rediss://")


def _why_unusable(parts: SplitResult) -> str:
    """Return what is wrong with a URL, without its content; "" if nothing is."""
    if parts.scheme not in ("redis", "rediss"):
        return "has no scheme that is known"
    if not parts.hostname:
        return "has no host"
    if parts.port == 0 or parts.fragment:
        return "has a port or a part after '#' that cannot be used"
    if parts.path not in ("", "/") and not parts.path[1:].isdecimal():
        return "has a path that is not the number of a database"
    return ""


def is_reusable_after(outcome: RedisOutcome) -> bool:
    """Return whether a connection can be used again. After a ``READONLY`` it is closed: the name
    may lead to the new master by now."""
    if isinstance(outcome, RedisRefused):
        return outcome.code in ("NOSCRIPT", "OOM", "NOPERM", "NOREPLICAS", "ERR")
    return isinstance(outcome, RedisReply)


def outcome_of(error: Exception, *, bytes_sent: bool, cause: Cause | None) -> RedisOutcome:
    """Return the outcome of commands that ended with an exception of redis-py.

    ``cause`` is given if it is known: a TLS error.
    """
    from redis import exceptions

    refusals = exceptions.ResponseError, exceptions.AuthenticationError, exceptions.BusyLoadingError
    detail = str(error) or type(error).__name__
    if isinstance(error, refusals):
        return RedisRefused(*_code_and_message(error))
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        cause = cause or Cause.TIMEOUT
    return Failure(cause or (Cause.CUT if bytes_sent else Cause.CONNECT), bytes_sent, detail, error)


def _code_and_message(error: Exception) -> tuple[str, str]:
    """Return the code and the text of an error reply. redis-py cuts off the codes that it knows,
    and has an exception for each; other codes are in the text. Redis before 7 puts the code of a
    command that a script called into the text."""
    from redis import exceptions

    known: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.OutOfMemoryError, "OOM"),
        (exceptions.NoScriptError, "NOSCRIPT"),
        (exceptions.ReadOnlyError, "READONLY"),
        (exceptions.NoPermissionError, "NOPERM"),
        (exceptions.BusyLoadingError, "LOADING"),
        (exceptions.MasterDownError, "MASTERDOWN"),
        (exceptions.AuthenticationError, "NOAUTH"),
    )
    text = str(error)
    for kind, code in known:
        if isinstance(error, kind):
            return code, text
    for code in ("OOM", "READONLY", "NOPERM", "MASTERDOWN", "NOREPLICAS"):
        if f"-{code} " in text:
            return code, text
    if "The user executing the script can't" in text:
        return "NOPERM", text
    word = text.partition(" ")[0]
    return (word if word.isupper() else "ERR"), text
