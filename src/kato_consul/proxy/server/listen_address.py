"""Addresses to listen on: ``host:port``, ``[IPv6]:port`` or ``unix:///path``."""

import ipaddress
import os
import re
import socket
from typing import NamedTuple, Self

from kato_consul.errors import ConfigurationError

MAX_PATH = 94
"""Bytes of a unix socket's path: macOS takes 103 (Linux 107), and the socket's first name is longer
by two dots and a process id (`listening`)."""

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ip6>[^\[\]]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})"
)


class ListenAddress(NamedTuple):
    """A host with a port, or the ``path`` of a unix socket."""

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, option: str, text: str) -> Self:
        """Return the address that a user wrote.

        Args:
            option: the option's name, for the error.
            text: the address.

        Raises:
            ConfigurationError: it is none, and the message has the valid forms; or the path is too
                long.
        """
        if text.startswith("unix:///") and not text.endswith("/"):
            path = text.removeprefix("unix://")
            if (length := len(os.fsencode(path))) > MAX_PATH:
                raise ConfigurationError(
                    f"{option} {text} cannot be used: the path of a unix socket may have "
                    f"{MAX_PATH} bytes, and this one has {length}: choose a shorter one"
                )
            return cls("", 0, path)
        found = _HOST_AND_PORT.fullmatch(text)
        if found is None or not 0 < int(found["port"]) < 65_536:
            raise ConfigurationError(
                f"{option} {text!r} cannot be used: write host:port, such as 127.0.0.1:8000 or "
                f"[::1]:8000, or unix:///path for a unix socket"
            )
        return cls(found["ip6"] or found["host"], int(found["port"]))

    @property
    def is_any(self) -> bool:
        """Whether it is all addresses of this machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def resolve(self, option: str) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        """Return the addresses of the host, each with its family.

        Args:
            option: the option's name, for the error.

        Raises:
            ConfigurationError: the host is not known.
        """
        try:
            found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:  # the latter: it cannot be a host's name
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"{option} {self}: the host is not known ({reason}): write an address of this "
                f"machine, such as 127.0.0.1:{self.port}"
            ) from None
        targets = {(family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found}
        return sorted(targets)

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
