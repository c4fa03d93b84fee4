"""Configuration of a test's agent, for the version of the Consul program."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kato_consul.testing.ports import HOST
from kato_consul.testing.programs import VERSION_TIMEOUT


class ConsulFailed(RuntimeError):
    """The agent did not start, or one of its commands failed; the message says which."""


def agent_config(
    node: str, ports: Mapping[str, int], version: tuple[int, int]
) -> dict[str, object]:
    """Return the configuration of an agent without outgoing traffic, beside others on a machine."""
    unused = {"https": -1, "grpc": -1}
    if version >= (1, 14):  # older versions do not start with an unknown port
        unused["grpc_tls"] = -1  # Consul 1.14 changelog; not tested with that version
    return {
        "node_name": node,
        "bind_addr": HOST,
        "client_addr": HOST,
        "ports": {**ports, **unused},
        "log_level": "INFO",
        "disable_update_check": True,
        "disable_anonymous_signature": True,
    }


def acl_config(token: str) -> dict[str, object]:
    """Return the configuration of an agent that denies all requests except those with `token`.

    The token names are those of Consul before 1.11, which later versions still accept.
    """
    tokens = {"master": token, "agent": token}
    return {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}


def consul_version(program: Path) -> tuple[int, int]:
    """Return major and minor version of `program`. Raise ConsulFailed if it prints none."""
    try:
        output = subprocess.run(
            [str(program), "version"],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConsulFailed(f"could not run `{program} version`: {error}") from error
    found = re.match(r"Consul v(\d+)\.(\d+)", output)
    if found is None:
        raise ConsulFailed(f"{program} is not a Consul program: `version` prints {output!r}")
    return int(found[1]), int(found[2])


def clean_environment() -> dict[str, str]:
    """Return the environment for the Consul program, as agent or command.

    The developer's CONSUL_* variables are left out: they name another agent, token or datacenter.
    """
    return {"PATH": os.environ.get("PATH", os.defpath)}
