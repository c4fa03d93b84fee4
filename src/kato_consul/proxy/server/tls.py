"""TLS of the server: its certificate, and the CAs of its callers' certificates."""

import ssl

from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.options import ServerOptions


def server_tls(options: ServerOptions) -> ssl.SSLContext | None:
    """Return the TLS context of a server; None: it serves HTTP.

    Raises:
        ConfigurationError: a file cannot be read, or has no certificate or key.
    """
    if options.tls_cert is None or options.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    pair = f"--tls-cert {options.tls_cert} with --tls-key {options.tls_key}"
    try:
        # Without a password a key with a passphrase is an error, and no question at a terminal.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _unusable(pair, error) from None
    if options.client_ca is not None:
        try:
            context.load_verify_locations(cafile=options.client_ca)
        except OSError as error:
            raise _unusable(f"--client-ca {options.client_ca}", error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable(what: str, error: Exception) -> ConfigurationError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return ConfigurationError(f"{what} cannot be used: {reason}")
