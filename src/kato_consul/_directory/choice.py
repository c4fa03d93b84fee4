"""Choice of the session directory: the one that the settings name."""

import os
import socket

from kato_consul._directory.directory import Directory
from kato_consul._secret import Secret
from kato_consul.errors import ConfigurationError
from kato_consul.settings import Settings


def directory_of(settings: Settings) -> Directory:
    """Return the session directory, for one client. Nothing is sent.

    Raises:
        ConfigurationError: the settings name none, or the package that it needs is missing.
    """
    label = f"{socket.gethostname()}:{os.getpid()}"
    if isinstance(settings.session_directory, Secret):
        from kato_consul._directory.redis_directory import RedisDirectory

        return RedisDirectory(settings.session_directory, settings.service, label)
    if settings.session_directory is None:
        raise ConfigurationError(
            "no session directory is set (KATO_CONSUL_SESSION_DIRECTORY): each process has "
            "sessions of its own. Set it to consul, or to the URL of a Redis server; a command has "
            "--directory, too"
        )
    from kato_consul._directory.consul_directory import ConsulDirectory

    return ConsulDirectory(settings, label)
