"""Addresses as people write them: of agents, and of instances."""

from urllib.parse import urlsplit

from kato_consul.errors import ConfigurationError

LOCAL = "127.0.0.1:8500"
"""The agent of the machine, where Consul's own tools look when they are told nothing."""


def consul_origin(address: str, *, ssl: bool = False) -> str:
    """Bring an address as people write it into ``scheme://host:port`` or ``unix:///path``.

    Raises:
        ConfigurationError: with the address and the forms that would do.
    """
    forms = (
        "use host:port, http://host:port, https://host:port or unix:///path, "
        "in CONSUL_HTTP_ADDR or --consul"
    )
    if "@" in address or "?" in address:  # not repeated: what is in there may be a secret
        raise ConfigurationError(
            f"the Consul address holds a user, a password or a query: give an ACL token with "
            f"CONSUL_HTTP_TOKEN instead, and {forms}"
        )
    bad = ConfigurationError(f"the Consul address {address!r} cannot be used: {forms}")
    if address.startswith("unix://"):
        if not address.removeprefix("unix://").startswith("/"):
            raise bad
        return address
    scheme = "https" if ssl else "http"
    try:
        parts = urlsplit(address if "://" in address else f"{scheme}://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad from None
    blank = any(sign.isspace() for sign in address)
    extra = parts.path.strip("/") or parts.fragment or port == 0
    if parts.scheme not in ("http", "https") or not host or extra or blank:
        raise bad
    # The API's own client dials the scheme's port when the address names none (api.NewClient).
    scheme = "https" if ssl else parts.scheme
    port = port if port is not None else (443 if scheme == "https" else 80)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_instance_url(url: str) -> None:
    """An instance's address is scheme, host and port, and nothing that would be left out."""
    try:
        parts = urlsplit(url)
        good = parts.hostname and parts.port != 0
    except ValueError:
        good = False
    rest = "?" in url or "#" in url or "@" in url or parts.path.strip("/") if good else True
    if not good or rest or parts.scheme != "http" or any(sign.isspace() for sign in url):
        shown = "" if "@" in url else f" {url!r}"  # it may hold a password
        raise ConfigurationError(
            f"the address{shown} of an instance cannot be used: use http://host:port, in KATO_URL "
            f"or kato_urls"
        )
