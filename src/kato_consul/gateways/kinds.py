"""Gateways: what differs between nginx, HAProxy, Envoy and Kong."""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from kato_consul.errors import ConfigurationError
from kato_consul.gateways.envoy_clusters import write_check
from kato_consul.gateways.rendering import Quote, haproxy_quote, nginx_quote, yaml_quote

Check = Callable[[Path], list[str]]
"""Returns the command that checks the configuration at a path, in a folder that it may write to."""


@dataclass(frozen=True)
class Gateway:
    """One kind of gateway.

    Attributes:
        name: Its name on the command line.
        title: Its name in texts.
        template: The file of its template, in this package.
        quote: Writes a text as a string of its syntax.
        check: The command that checks a configuration; None if its program has none.
        hashes_keys: It can compare the hash of a caller's key.
        limits_callers: It can limit the requests of each caller.
    """

    name: str
    title: str
    template: str
    quote: Quote
    check: Check | None
    hashes_keys: bool = False
    limits_callers: bool = True

    def template_source(self) -> str:
        """Return the template that this package has for it."""
        folder = resources.files("kato_consul.gateways").joinpath("templates")
        return folder.joinpath(self.template).read_text("utf-8")


_HTTP_BLOCK = re.compile(r"^\s*http\s*\{", re.MULTILINE)

_NGINX_AROUND = """\
pid {pid};
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {body};
    proxy_temp_path {proxy};
    fastcgi_temp_path {fastcgi};
    uwsgi_temp_path {uwsgi};
    scgi_temp_path {scgi};
    include {file};
}}
"""
"""A whole configuration around a file for nginx's http block. It writes nothing elsewhere."""

_NGINX_PATHS = ("pid", "body", "proxy", "fastcgi", "uwsgi", "scgi")


_NGINX_READS = "*?[$"
"""Characters with a meaning in the path of an include. A pattern that matches nothing is right."""


def _check_nginx(file: Path) -> list[str]:
    """A text with an ``http`` block is a whole configuration; another one belongs into one."""
    if not _HTTP_BLOCK.search(file.read_text("utf-8")):
        if any(character in str(file) for character in _NGINX_READS):
            raise ConfigurationError(
                f"nginx cannot check a configuration in the temporary folder "
                f"{tempfile.gettempdir()!r}: it gives a meaning to {' '.join(_NGINX_READS)} in a "
                f"path. Set TMPDIR to another folder, such as /tmp"
            )
        around = file.with_name(f"around-{file.name}")
        paths = {name: nginx_quote(str(file.with_name(name))) for name in _NGINX_PATHS}
        text = _NGINX_AROUND.format(file=nginx_quote(str(file)), **paths)
        around.write_text(text, encoding="utf-8", errors="surrogateescape")
        file = around
    return ["nginx", "-t", "-q", "-c", str(file)]


NGINX = Gateway("nginx", "nginx", "nginx.conf.j2", nginx_quote, _check_nginx)


def _check_haproxy(file: Path) -> list[str]:
    return ["haproxy", "-c", "-f", str(file)]  # -q would hide the reason, too


HAPROXY = Gateway(
    "haproxy", "HAProxy", "haproxy.cfg.j2", haproxy_quote, _check_haproxy, hashes_keys=True
)


def _check_envoy(file: Path) -> list[str]:
    return ["envoy", "--mode", "validate", "--log-level", "warning", "-c", str(file)]


def check_envoy_clusters(file: Path) -> list[str]:
    """Return the command that checks the clusters of a file."""
    config = file.with_name(f"check-{file.name}")
    write_check(file, config)
    return _check_envoy(config)


ENVOY = Gateway("envoy", "Envoy", "envoy.yaml.j2", yaml_quote, _check_envoy, limits_callers=False)

KONG = Gateway("kong", "Kong", "kong.yml.j2", yaml_quote, None)

GATEWAYS: Mapping[str, Gateway] = {one.name: one for one in (NGINX, HAPROXY, ENVOY, KONG)}
"""All kinds, by their names."""
