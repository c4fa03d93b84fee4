"""Addresses of Consul agents and of instances: what is valid, and how users write them."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from kato_consul.errors import ConfigurationError

LOCAL = "127.0.0.1:8500"
"""The local agent: the default address of Consul's own tools."""


class ConsulAddress(NamedTuple):
    """The address of an agent: ``scheme://host:port`` or ``unix:///path``, and the path that all of
    its API is under, such as ``/consul`` at a gateway, or ""."""

    origin: str
    path: str = ""


def consul_address(address: str, *, ssl: bool = False) -> ConsulAddress:
    """Return an agent's address as it is used.

    With ``ssl`` the scheme is https, also for an address with http. An IPv6 address without
    brackets is accepted if a port follows it: ``http://$(HOST_IP):8500`` in a Kubernetes manifest
    becomes one.

    Raises:
        ConfigurationError: the address is invalid; the message contains the valid forms.
    """
    forms = (
        "use host:port, http://host:port, https://host:port, each with a path if a gateway needs "
        "one, or unix:///path, in CONSUL_HTTP_ADDR or --consul"
    )
    if "@" in address or "?" in address:  # the message omits the address: it may hold a secret
        raise ConfigurationError(
            f"the Consul address contains a user, a password or a query: set an ACL token with "
            f"CONSUL_HTTP_TOKEN instead, and {forms}"
        )
    invalid = ConfigurationError(f"the Consul address {address!r} cannot be used: {forms}")
    if address.startswith("unix://"):
        if not address.removeprefix("unix://").startswith("/"):
            raise invalid
        return ConsulAddress(address)
    scheme = "https" if ssl else "http"
    try:
        parts = urlsplit(_with_brackets(address if "://" in address else f"{scheme}://{address}"))
        host, port = parts.hostname, parts.port
    except ValueError:
        raise invalid from None
    # Printable ASCII: what a request line can hold without escapes.
    readable = all(33 <= ord(character) <= 126 for character in address)
    if parts.scheme not in ("http", "https") or not host or parts.fragment or port == 0:
        raise invalid
    if not readable or (":" in host and not is_ip_address(host)):
        raise invalid
    # Consul's own client also uses the scheme's port if the address has none (api.NewClient).
    scheme = "https" if ssl else parts.scheme
    port = port if port is not None else (443 if scheme == "https" else 80)
    host = host.replace("%25", "%")  # a zone, as a URL has it (RFC 6874)
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ConsulAddress(f"{scheme}://{netloc}", parts.path.rstrip("/"))


def is_ip_address(text: str) -> bool:
    """Return whether the text is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _with_brackets(url: str) -> str:
    """Return the URL with brackets around an IPv6 address that a port follows."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    host, _, port = netloc.rpartition(":")
    if ":" in host and port.isdecimal() and is_ip_address(host):
        netloc = f"[{host}]:{port}"
    return f"{scheme}://{netloc}{slash}{path}"


DEFAULT_PORTS = {"http": 80, "https": 443}
"""The schemes of instances, and the port of a URL that has none."""

_PATH_PREFIX = re.compile(
    r"(/(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*"
)
"""Segments of a path as RFC 3986 has them, none of which is empty, ``.`` or ``..``."""

PATH_FORM = "write it like /kato: without spaces, '?', '#' and empty parts"
"""How a path prefix is written, for error messages."""


def is_path_prefix(path: str) -> bool:
    """Return whether a path can be put before the path of each request: empty, or like ``/kato``,
    without a slash at its end."""
    return _PATH_PREFIX.fullmatch(path) is not None


class InstanceUrl(NamedTuple):
    """The URL of an instance in its parts. ``path`` is put before the path of each request."""

    scheme: str
    host: str
    port: int
    path: str


def instance_url(url: str) -> InstanceUrl:
    """Return the parts of an instance's URL, ``http://host:port`` or ``https://host:port/path``.

    Raises:
        ConfigurationError: it is no such URL; the message contains the valid forms.
    """
    if "@" in url:  # the message omits the URL: it may hold a password
        raise ConfigurationError(
            "the address of an instance contains a user or a password: leave them out of KATO_URL "
            "and kato_urls, and set KATO_API_KEY_FILE or KATO_API_KEY, or kato_headers"
        )
    try:
        parts = urlsplit(_with_brackets(url))
        port = parts.port if parts.port is not None else DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    path = parts.path.rstrip("/")
    printable = all(33 <= ord(character) <= 126 and character not in "?#" for character in url)
    if not (parts.hostname and port and parts.scheme in DEFAULT_PORTS and printable):
        raise ConfigurationError(
            f"the address {url!r} of an instance cannot be used: use http://host:port or "
            f"https://host:port, each with a path if a gateway needs one, in KATO_URL or kato_urls"
        )
    if not is_path_prefix(path):
        raise ConfigurationError(
            f"the path of {url!r} in KATO_URL or kato_urls cannot be used: {PATH_FORM}"
        )
    return InstanceUrl(parts.scheme, parts.hostname, port, path)
