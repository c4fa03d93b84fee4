"""Open sockets of a process, by inode: two processes that share a socket have the same inode."""

from pathlib import Path


def open_sockets(process: int | str = "self") -> set[str]:
    """Return the open sockets of a process, of any family."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # the descriptor that lists this folder
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def connections_to(port: int) -> int:
    """Return how many connections this process has to a TCP port of this machine."""
    return len(states_of_connections(port))


def states_of_connections(port: int) -> list[str]:
    """Return the state of each of these connections, as the kernel numbers them: "01" is
    established, "08" closed by the other side."""
    own = {found.removeprefix("socket:[").removesuffix("]") for found in open_sockets()}
    rows = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = (row.split() for row in rows)
    # By inode: a table that changes while it is read may have a row twice.
    states = {row[9]: row[3] for row in fields if int(row[2].split(":")[1], 16) == port}
    return sorted(state for inode, state in states.items() if inode in own)
