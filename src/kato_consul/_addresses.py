"""Addresses of Consul agents and of instances, as users write them in settings."""

from urllib.parse import urlsplit

from kato_consul.errors import ConfigurationError

LOCAL = "127.0.0.1:8500"
"""The local agent: the default address of Consul's own tools."""


def consul_origin(address: str, *, ssl: bool = False) -> str:
    """Return an agent's address as ``scheme://host:port`` or ``unix:///path``.

    With ``ssl`` the scheme is https, also for an address with http.

    Raises:
        ConfigurationError: the address is invalid; the message contains the valid forms.
    """
    forms = (
        "use host:port, http://host:port, https://host:port or unix:///path, "
        "in CONSUL_HTTP_ADDR or --consul"
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
        return address
    scheme = "https" if ssl else "http"
    try:
        parts = urlsplit(address if "://" in address else f"{scheme}://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise invalid from None
    has_space = any(character.isspace() for character in address)
    extra = parts.path.strip("/") or parts.fragment or port == 0
    if parts.scheme not in ("http", "https") or not host or extra or has_space:
        raise invalid
    # Consul's own client also uses the scheme's port if the address has none (api.NewClient).
    scheme = "https" if ssl else parts.scheme
    port = port if port is not None else (443 if scheme == "https" else 80)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


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
