"""Code blocks of the documentation pages, and the commands in them."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "registrar.md", ROOT / "docs" / "gateways.md"]


def blocks(page: Path, language: str) -> list[str]:
    """Return the page's code blocks in a language."""
    matches = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [str(block) for block in matches]


def all_blocks(language: str) -> list[str]:
    """Return the code blocks in a language of all pages."""
    return [block for page in PAGES for block in blocks(page, language)]


def units() -> list[tuple[str, str]]:
    """Return name and text of each systemd unit; the first line of a block has its path."""
    named = []
    for block in all_blocks("ini"):
        path, _, text = block.partition("\n")
        named.append((path.rpartition("/")[2], text))
    return named


def documents() -> list[Any]:
    """Return the documents in the pages' YAML; a block may have several."""
    return [document for block in all_blocks("yaml") for document in yaml.safe_load_all(block)]


def jobs(*, of_proxy: bool = False) -> list[dict[str, Any]]:
    """Return the registrar's containers in the pages' YAML, both Kubernetes and compose; or those
    of the proxy."""
    return [
        container
        for container in containers(documents())
        if container["image"] == "kato-consul" and ("proxy" in command_line(container)) is of_proxy
    ]


def containers(document: Any) -> list[dict[str, Any]]:
    """Return all containers in a document, at any depth."""
    if isinstance(document, list):
        return [container for part in document for container in containers(part)]
    if not isinstance(document, dict):
        return []
    if "image" in document:
        return [document]
    return [container for part in document.values() for container in containers(part)]


def command_line(container: dict[str, Any]) -> list[str]:
    """Return a container's command with its arguments: a line in compose, lists in Kubernetes."""
    command = container["command"]
    argv = shlex.split(command) if isinstance(command, str) else [*command]
    return [*argv, *container.get("args", [])]


def environment(container: dict[str, Any], fields: dict[str, str]) -> dict[str, str]:
    """Return a container's variables as Kubernetes sets them.

    ``fields`` are the values of the pod's fields; ``$(NAME)`` refers to an earlier variable.
    """
    variables: dict[str, str] = {}
    for variable in container.get("env", []):
        if "value" in variable:
            variables[variable["name"]] = re.sub(
                r"\$\((\w+)\)", lambda match: variables[match[1]], variable["value"]
            )
        else:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            variables[variable["name"]] = fields[path]
    return variables


def with_our_programs(env: dict[str, str]) -> dict[str, str]:
    """Return an environment in which ``kato-consul`` is the one of this checkout."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")
    }
    return {**inherited, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env}
