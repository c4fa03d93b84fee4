"""`find_program` with each program: one real fetch from this machine's archive, and its variable.

The order of the search is in test_consul_binary.py.
"""

import shutil
from pathlib import Path

import pytest

from kato_consul.testing import ConsulAgent
from kato_consul.testing.apt_archive import ArchiveFailed, find_source
from kato_consul.testing.consul.binary import CONSUL
from kato_consul.testing.gateways import HAPROXY, NGINX, HaproxyServer, NginxServer
from kato_consul.testing.ports import free_ports
from kato_consul.testing.programs import Program, find_program, why_unusable
from kato_consul.testing.redis import REDIS, RedisServer
from kato_consul.testing.server_program import ServerProgram

KEPT = {
    "Consul": "consul",
    "Redis": "redis/redis-server",
    "nginx": "nginx/nginx",
    "HAProxy": "haproxy/haproxy",
}
"""Where each is kept in the cache."""

each_program = pytest.mark.parametrize(
    "program", [CONSUL, REDIS, NGINX, HAPROXY], ids=lambda one: one.title
)


@each_program
def test_program_of_the_archive_serves(program: Program, tmp_path: Path) -> None:
    """With its own libraries, if it has some. Without an archive the error says why."""
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    reason = why_no_archive(program)
    if reason is not None:
        with pytest.raises(program.not_found) as caught:
            find_program(program, environ=environ)
        assert reason in str(caught.value)
        return
    found = find_program(program, environ=environ)
    assert found == tmp_path / "kato-consul" / KEPT[program.title]
    assert why_unusable(program, found) is None
    assert find_program(program, environ=environ) == found
    with server_of(program, found, tmp_path) as server:
        mapped = Path(f"/proc/{server.pid}/maps").read_text()
    if program is CONSUL:
        assert {path.name for path in found.parent.iterdir()} == {"consul", "consul.lock"}
    else:
        assert str(found.parent / "lib") in mapped


@each_program
def test_variable_is_checked(program: Program) -> None:
    """A program that is named and cannot be used is an error, and no other one is searched for."""
    with pytest.raises(program.not_found, match=f"{program.variable} names '/nowhere', which"):
        find_program(program, environ={program.variable: "/nowhere"})


def why_no_archive(program: Program) -> str | None:
    """Return why this machine has no archive to fetch from, or None if it has one."""
    try:
        find_source(Path("/etc"), program.packages.releases)
    except ArchiveFailed as error:
        return str(error)
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    return f"there is no program {missing[0]}" if missing else None


def server_of(program: Program, binary: Path, folder: Path) -> ServerProgram:
    """Return a server of a program, not started."""
    if program is CONSUL:
        return ConsulAgent(binary=binary)
    if program is REDIS:
        return RedisServer(binary=binary)
    (port,) = free_ports(1)
    config = folder / "gateway.conf"
    if program is NGINX:
        config.write_text(f"server {{ listen 127.0.0.1:{port}; }}\n")
        return NginxServer(config, port, binary=binary)
    config.write_text(f"frontend one\n mode http\n timeout client 9s\n bind 127.0.0.1:{port}\n")
    return HaproxyServer(config, port, binary=binary)
