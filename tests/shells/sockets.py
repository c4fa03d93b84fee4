"""Which sockets a process has, by inode: the same one in two processes has the same number."""

from pathlib import Path


def sockets(process: int | str = "self") -> set[str]:
    """The TCP and unix sockets of a process."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # the one that lists the folder
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
