"""TLS: the contexts for Consul and for KATO, and what an error of a handshake means.

KATO's certificates are verified against the address of each instance, or against one name for all
of them (``kato_tls_server_name``).
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kato_consul._flow import Cause
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings

REFUSED_BY_SERVER = frozenset(
    {
        "CERTIFICATE_REQUIRED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
        "ACCESS_DENIED",
        "HANDSHAKE_FAILURE",
        "UNRECOGNIZED_NAME",
    }
)
"""Alerts of a server that refuses the handshake (RFC 8446, 6.2). In TLS 1.3 the alert may arrive
after the first request was written; the server has not read that request."""


CLIENT_CERT = "set kato_client_cert and kato_client_key (KATO_CLIENT_CERT, KATO_CLIENT_KEY)"
"""What to do if a client certificate is missing."""


@dataclass(frozen=True)
class _Files:
    """The TLS settings of one service. ``prefix`` is that of their names and variables."""

    prefix: str
    verify: bool
    cacert: Path | None
    capath: Path | None
    client_cert: Path | None
    client_key: Path | None

    @property
    def given(self) -> bool:
        """Whether any of them was set."""
        return not self.verify or any(
            one is not None for one in (self.cacert, self.capath, self.client_cert)
        )

    def named(self, *names: str) -> str:
        """Return the names of settings and variables, for an error message."""
        settings = " and ".join(f"{self.prefix}_{name}" for name in names)
        return f"{settings} ({', '.join(f'{self.prefix}_{name}'.upper() for name in names)})"


class TlsContexts:
    """The contexts of one client: for Consul, and for KATO.

    Raises:
        ConfigurationError: a certificate file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        consul = _Files(
            "consul",
            settings.consul_verify,
            settings.consul_cacert,
            settings.consul_capath,
            settings.consul_client_cert,
            settings.consul_client_key,
        )
        self._kato_files = _Files(
            "kato",
            settings.kato_verify,
            settings.kato_cacert,
            settings.kato_capath,
            settings.kato_client_cert,
            settings.kato_client_key,
        )
        uses_https = any(origin.startswith("https://") for origin in settings.consul_origins)
        self.consul = _context(consul) if uses_https else None
        self._kato: ssl.SSLContext | None = None
        # Any instance may turn out to be reached over https, but wrong files are told at once.
        if (
            self._kato_files.given
            or settings.kato_scheme == "https"
            or any(url.startswith("https://") for url in settings.kato_urls)
        ):
            self._kato = _context(self._kato_files)

    @property
    def kato(self) -> ssl.SSLContext:
        """The context for KATO, which is made when the first instance needs it."""
        if self._kato is None:
            self._kato = _context(self._kato_files)
        return self._kato


def _context(files: _Files) -> ssl.SSLContext:
    used = ""
    try:
        if files.capath is not None:
            used = f"{files.named('capath')}: {files.capath}"
            next(files.capath.iterdir(), None)  # OpenSSL ignores a directory that is not there
        if files.cacert is not None:
            used = f"{files.named('cacert')}: {files.cacert}"
        context = ssl.create_default_context(
            cafile=files.cacert and str(files.cacert), capath=files.capath and str(files.capath)
        )
        if files.client_cert is not None:
            used = f"{files.named('client_cert', 'client_key')}: {files.client_cert}"
            context.load_cert_chain(files.client_cert, files.client_key, _no_passphrase)
    except OSError as error:
        whose = "Consul" if files.prefix == "consul" else "KATO"
        raise ConfigurationError(
            f"the TLS files for {whose} cannot be used: {used}: {error}"
        ) from error
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> NoReturn:
    # Otherwise OpenSSL would ask for it on the terminal.
    raise OSError("the private key has a passphrase, which is not supported")


def find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the TLS error in a chain of exceptions, or None."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLError):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None


def answered_without_tls(error: BaseException | None) -> bool:
    """Return whether the server answered the handshake without TLS, as plain http does."""
    tls_error = find_tls_error(error)
    return tls_error is not None and tls_error.reason in _NOT_TLS


def tls_cause(error: BaseException | None) -> Cause | None:
    """Return the cause of a connection that failed because of TLS, or None if TLS was not why."""
    if answered_without_tls(error):
        return Cause.NOT_TLS
    return Cause.TLS if find_tls_error(error) is not None else None


def refused_handshake(error: BaseException | None) -> bool:
    """Return whether the server refused the handshake, so that it has read no request."""
    tls_error = find_tls_error(error)
    reason = (tls_error.reason or "") if tls_error is not None else ""
    return "ALERT_" in reason and reason.partition("ALERT_")[2] in REFUSED_BY_SERVER


def describe_kato_tls_error(error: BaseException | None) -> str:
    """Return what to do about a TLS error of a connection to KATO; empty if it is none."""
    tls_error = find_tls_error(error)
    if tls_error is None:
        return ""
    reason = tls_error.reason or ""
    if isinstance(tls_error, ssl.SSLCertVerificationError):
        if tls_error.verify_code in _WRONG_NAME:
            return (
                "the certificate is for another name: set kato_tls_server_name "
                "(KATO_TLS_SERVER_NAME), or register the name that it has as the address"
            )
        if tls_error.verify_code in _NOT_TRUSTED:
            return "its CA is not trusted: set kato_cacert (KATO_CACERT)"
        return "the certificate is not valid: renew it"
    if reason in _NOT_TLS:
        return "it does not answer with TLS: is its scheme http (kato_scheme, or its metadata)?"
    if refused_handshake(tls_error):
        return f"it refused the client's certificate, or there was none: {CLIENT_CERT}"
    return ""


_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
"""OpenSSL's reasons, of different versions, for an answer that is no TLS record."""

_WRONG_NAME = (62, 64)
"""OpenSSL's ``X509_V_ERR_HOSTNAME_MISMATCH`` and ``X509_V_ERR_IP_ADDRESS_MISMATCH``."""

_NOT_TRUSTED = (2, 18, 19, 20, 21)
"""OpenSSL's codes for an unknown, self-signed or missing issuer."""
