"""Succession of proxies: whether one may serve an address that another one serves now, and how.

Without an option it may not. With ``--replace`` it takes the other one's sockets, and ends it when
it serves itself; with ``--share-port`` both serve, until something else ends one of them.
"""

import os
import socket
from collections import Counter

from kato_consul.errors import ConfigurationError
from kato_consul.proxy.server.handover import BeingReplacedError, RunningProxy, find_proxy
from kato_consul.proxy.server.identity import Identity
from kato_consul.proxy.server.listening import IN_USE, open_sockets
from kato_consul.proxy.server.options import ServerOptions


def sockets_to_listen_on(
    options: ServerOptions, identity: Identity
) -> tuple[list[socket.socket], RunningProxy | None]:
    """Return sockets, at least one of each address for each worker, and the proxy that some of them
    were taken from. The others do not all listen yet: `open_sockets`.

    Raises:
        ConfigurationError: the address cannot be used, or is served by what this proxy may not
            replace or join.
    """
    running = find_proxy(options.address)
    sockets: list[socket.socket] = []
    try:
        if running is not None and (options.replace or options.share_port):
            check_succession(options, identity, running)
            if running.identity is not None:
                sockets = _take_sockets(options, running)
        taken = bool(sockets)
        needed = 1 if options.address.path else options.workers
        missing = needed - min(Counter(one.getsockname() for one in sockets).values(), default=0)
        if missing > 0:
            sockets += open_sockets(
                "--listen",
                options.address,
                missing,
                beside=options.share_port or taken,
                in_use=in_use(options, running),
            )
    except ConfigurationError:
        for one in sockets:
            one.close()
        if running is not None:
            running.connection.close()
        raise
    if running is not None and not taken:
        running.connection.close()
        running = None
    return sorted(sockets, key=lambda one: one.getsockname()), running


def _take_sockets(options: ServerOptions, running: RunningProxy) -> list[socket.socket]:
    try:
        return running.take_sockets(replace=options.replace)
    except BeingReplacedError as found:
        raise ConfigurationError(
            f"--replace: {_named(running.pid)}, which serves {options.address}, is just being "
            f"replaced by {_named(found.pid)}: repeat the command when that one serves, or end it "
            f"first"
        ) from None


def check_succession(options: ServerOptions, identity: Identity, running: RunningProxy) -> None:
    """Check that a proxy can be replaced or joined by this one.

    Raises:
        ConfigurationError: the two do not serve the same, or the other one cannot be ended.
    """
    option = "--replace" if options.replace else "--share-port"
    if running.other_version:
        raise ConfigurationError(
            f"{option}: {_named(running.pid)}, which serves {options.address}, is another version "
            f"of kato-consul, and what the two serve cannot be compared: end it first, or choose "
            f"another port"
        )
    if running.identity is None:
        return
    difference = running.identity.difference(identity)
    if difference:
        raise ConfigurationError(
            f"{option}: {_named(running.pid)}, which serves {options.address}, {difference}: "
            f"callers would get one or the other. Choose another port, or end it first"
        )
    if options.replace and not running.pid:
        raise ConfigurationError(
            f"--replace: {options.address} is served by kato-consul proxy in another PID "
            f"namespace, such as that of a container, which this one cannot end: give "
            f"--share-port, and end it when this one serves"
        )


def in_use(options: ServerOptions, running: RunningProxy | None) -> str:
    """Return what to say when the address is in use by what was not taken over."""
    if running is None:
        if options.replace:
            return (
                "what listens there does not hand over its sockets: it is no kato-consul proxy "
                "with this --listen, it starts or ends just now, or the system is not Linux. "
                "Repeat the command, end it, or choose another port"
            )
        return IN_USE
    served = f"it is served by kato-consul proxy, {_named(running.pid)}"
    if running.user != os.geteuid():
        return (
            f"{served}, of another user ({running.user}), and is handed over to the same user "
            f"only: end it, or choose another port"
        )
    if running.other_version:
        return f"{served}, of another version of kato-consul: end it, or choose another port"
    if running.identity is None or options.replace:
        return (
            f"{served}, which does not answer: end it, or choose another port. If it ends just "
            f"now, repeat the command"
        )
    if not running.pid:
        return f"{served}: --share-port serves beside it"
    return f"{served}: --replace takes its place without a failed request"


def _named(pid: int) -> str:
    return f"process {pid}" if pid else "a process of another PID namespace"
