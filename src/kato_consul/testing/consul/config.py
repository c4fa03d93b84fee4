"""How a test's agent is set up, by the version of the program at hand."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kato_consul.testing.ports import HOST

VERSION_TIMEOUT = 20.0  # seconds for `consul version`, which takes 0.1 s on an idle machine


class ConsulFailed(RuntimeError):
    """The agent did not start, or a command of its program failed; the message says which."""


def agent_config(
    node: str, ports: Mapping[str, int], version: tuple[int, int]
) -> dict[str, object]:
    """Return the configuration of a quiet agent which shares its machine with others."""
    unused = {"https": -1, "grpc": -1}
    if version >= (1, 14):  # older ones refuse to start over a port they do not know
        unused["grpc_tls"] = -1  # Consul 1.14 changelog; not tried with that version
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
    """Return the configuration of an agent that denies everything but to `token`.

    The names of the tokens are those of Consul before 1.11, which later ones still take.
    """
    tokens = {"master": token, "agent": token}
    return {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}


def consul_version(program: Path) -> tuple[int, int]:
    """Return major and minor version of `program`; ConsulFailed when it does not tell."""
    try:
        answer = subprocess.run(
            [str(program), "version"],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConsulFailed(f"could not ask {program} for its version: {error}") from error
    found = re.match(r"Consul v(\d+)\.(\d+)", answer)
    if found is None:
        raise ConsulFailed(f"{program} is not a Consul program: `version` says {answer!r}")
    return int(found[1]), int(found[2])


def clean_environment() -> dict[str, str]:
    """Return the environment for Consul's program, agent or command.

    Without the developer's CONSUL_*: those name another agent, token or datacenter.
    """
    return {"PATH": os.environ.get("PATH", os.defpath)}
