"""Addresses of Consul agents and of instances, as users write them in settings."""

import ipaddress
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


def check_instance_url(url: str) -> None:
    """Check that an instance's address is ``http://host:port``, without any further part.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        parts = urlsplit(url)
        valid = (
            bool(parts.hostname)
            and parts.port != 0
            and parts.scheme == "http"
            and not parts.path.strip("/")
            and not any(character in "?#@" or character.isspace() for character in url)
        )
    except ValueError:
        valid = False
    if not valid:
        shown = "" if "@" in url else f" {url!r}"  # it may hold a password
        raise ConfigurationError(
            f"the address{shown} of an instance cannot be used: use http://host:port, in KATO_URL "
            f"or kato_urls"
        )
