"""What the pages show to be copied: blocks in other languages, and the commands in them."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "registrar.md"]


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [str(one) for one in found]


def all_blocks(language: str) -> list[str]:
    """Those of all pages."""
    return [block for page in PAGES for block in blocks(page, language)]


def units() -> list[tuple[str, str]]:
    """Name and text of each systemd unit; the first line says where it belongs."""
    found = []
    for block in all_blocks("ini"):
        place, _, text = block.partition("\n")
        found.append((place.rpartition("/")[2], text))
    return found


def jobs() -> list[dict[str, Any]]:
    """The registrar's containers in the pages' YAML, of Kubernetes and compose."""
    return [
        one
        for block in all_blocks("yaml")
        for one in containers(yaml.safe_load(block))
        if one["image"] == "kato-consul"
    ]


def containers(document: Any) -> list[dict[str, Any]]:
    """All containers in a document, wherever they stand."""
    if isinstance(document, list):
        return [one for part in document for one in containers(part)]
    if not isinstance(document, dict):
        return []
    if "image" in document:
        return [document]
    return [one for part in document.values() for one in containers(part)]


def words(container: dict[str, Any]) -> list[str]:
    """What a container runs: compose has a line, Kubernetes lists."""
    command = container["command"]
    found = shlex.split(command) if isinstance(command, str) else [*command]
    return [*found, *container.get("args", [])]


def environment(container: dict[str, Any], fields: dict[str, str]) -> dict[str, str]:
    """A container's variables as Kubernetes makes them: fields of the pod, ``$(NAME)`` of earlier
    ones."""
    made: dict[str, str] = {}
    for one in container.get("env", []):
        if "value" in one:
            made[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: made[found[1]], one["value"])
        else:
            made[one["name"]] = fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
    return made


def with_our_programs(env: dict[str, str]) -> dict[str, str]:
    """An environment in which ``kato-consul`` is the one of this checkout."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
    return {**bare, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env}
