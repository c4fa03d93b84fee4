"""TLS of the server: its certificate, and the CAs of its callers' certificates."""

import re
import ssl
from pathlib import Path

from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.options import ServerOptions

_PEM = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_CERTIFICATE, _KEY = b"CERTIFICATE", b"PRIVATE KEY"


def server_tls(options: ServerOptions) -> ssl.SSLContext | None:
    """Return the TLS context of a server; None: it serves HTTP.

    Raises:
        ConfigurationError: a file cannot be read, or has no certificate or key.
    """
    if options.tls_cert is None or options.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password a key with a passphrase is an error, and no question at a terminal.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _unusable_pair(options.tls_cert, options.tls_key, error) from None
    if options.client_ca is not None:
        try:
            context.load_verify_locations(cafile=options.client_ca)
        except OSError as error:
            raise _unusable(f"--client-ca {options.client_ca}", error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable_pair(cert: Path, key: Path, error: Exception) -> ConfigurationError:
    """Return the error for a certificate and its key: OpenSSL does not say which file it means."""
    pair = f"--tls-cert {cert} with --tls-key {key}"
    if not isinstance(error, ssl.SSLError):
        return _unusable(pair, error)
    certificates, keys = (_PEM.findall(one.read_bytes()) for one in (cert, key))
    if _CERTIFICATE not in certificates:
        swapped = _CERTIFICATE in keys and any(one.endswith(_KEY) for one in certificates)
        return ConfigurationError(
            f"--tls-cert {cert} cannot be used: "
            + ("it has the key: swap the two files" if swapped else "it has no certificate in PEM")
        )
    if not any(one.endswith(_KEY) for one in keys):
        return ConfigurationError(f"--tls-key {key} cannot be used: it has no private key in PEM")
    if error.reason == "KEY_VALUES_MISMATCH":
        return ConfigurationError(f"{pair} cannot be used: the key is not that of the certificate")
    return _unusable(pair, error)


def _unusable(what: str, error: Exception) -> ConfigurationError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return ConfigurationError(f"{what} cannot be used: {reason}")
