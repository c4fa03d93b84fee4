"""Environment variables: the setting that each one sets, and how its text is parsed."""

from pathlib import Path

from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError


def _text(variable: str, text: str) -> str:
    return text


def _path(variable: str, text: str) -> Path:
    return Path(text)


def _secret(variable: str, text: str) -> Secret:
    return Secret(text.strip())


def _secret_file(variable: str, text: str) -> Secret | None:
    try:
        # An empty file is ignored, so that the variable is used.
        content = Path(text).read_text(encoding="utf-8").strip()
        return Secret(content) if content else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{variable}: cannot read {text}: {reason}") from None


def _flag(variable: str, text: str) -> bool:
    # The values of Go's strconv.ParseBool, which Consul's own tools use for these.
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ConfigurationError(f"{variable} must be true or false, not {text!r}")


def _list(variable: str, text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


VARIABLES = (
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
"""The setting, the variable and the parser. A later row takes precedence, so the token's file is
below the token."""
