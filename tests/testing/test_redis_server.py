"""`RedisServer` and `find_redis`: real servers, and one real fetch."""

import shutil
from pathlib import Path

import pytest

from kato_consul.testing.apt_archive import ArchiveFailed, find_source
from kato_consul.testing.programs import why_unusable
from kato_consul.testing.redis import RedisFailed, RedisNotFound, RedisServer, find_redis
from kato_consul.testing.redis.binary import REDIS
from tests.testing.waiting import eventually


def test_server_and_its_options() -> None:
    """A server has the options that it is given, and is gone after its end."""
    with RedisServer(config={"maxmemory": "100mb"}, password="secret") as server:
        assert server.command("CONFIG", "GET", "maxmemory")[1] == str(100 * 2**20).encode()
        assert server.url == f"redis://:secret@127.0.0.1:{server.port}/0"
        folder = server._folder
        assert folder is not None
        assert folder.path.exists()
    assert not server.running
    assert not folder.path.exists()


@pytest.mark.parametrize("persistent", [True, False])
def test_restart(persistent: bool) -> None:
    """A restarted server has the same port, and its data only if it is persistent."""
    with RedisServer(persistent=persistent) as server:
        server.command("SET", "k", "v")
        port, pid = server.port, server.command("INFO", "server")["process_id"]
        server.restart()
        assert server.port == port
        assert server.command("INFO", "server")["process_id"] != pid
        assert server.command("GET", "k") == (b"v" if persistent else None)


def test_replica_is_promoted() -> None:
    """A replica has its master's data, and takes writes once it is promoted."""
    with RedisServer() as master:
        master.command("SET", "k", "v")
        with RedisServer(replica_of=master) as replica:
            assert replica.command("GET", "k") == b"v"
            master.command("SET", "k", "w")
            assert eventually(lambda: replica.command("GET", "k") == b"w")
            master.kill()
            replica.promote()
            assert replica.command("SET", "k", "x")


def test_frozen_server_can_be_stopped() -> None:
    """A frozen server runs; it is ended all the same."""
    with RedisServer() as server:
        server.freeze()
        assert server.running
        server.thaw()
        assert server.command("PING")
        server.freeze()
    assert not server.running


def test_wrong_option_is_an_error() -> None:
    """A server that does not start is an error, with the end of its log."""
    with pytest.raises(RedisFailed, match="nonsense"):
        RedisServer(config={"nonsense": "yes"}).start()


def test_variable_is_checked(tmp_path: Path) -> None:
    """A program that is named and cannot be used is an error."""
    with pytest.raises(RedisNotFound, match="KATO_CONSUL_REDIS_BINARY names '/nowhere'"):
        find_redis(environ={"KATO_CONSUL_REDIS_BINARY": "/nowhere"})


def test_real_archive(tmp_path: Path) -> None:
    """A Redis from this machine's archive serves, with its libraries; otherwise the error says
    why."""
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    reason = why_no_archive()
    if reason is not None:
        with pytest.raises(RedisNotFound) as caught:
            find_redis(environ=environ)
        assert reason in str(caught.value)
        return
    program = find_redis(environ=environ)
    assert program == tmp_path / "kato-consul/redis/redis-server"
    assert why_unusable(REDIS, program) is None
    assert find_redis(environ=environ) == program
    with RedisServer(binary=program) as server:
        assert server.command("PING")
        process = server.command("INFO", "server")["process_id"]
        mapped = Path(f"/proc/{process}/maps").read_text()
        assert str(program.parent / "lib") in mapped


def why_no_archive() -> str | None:
    """Return why this machine has no archive to fetch from, or None if it has one."""
    try:
        find_source(Path("/etc"), REDIS.packages.releases)
    except ArchiveFailed as error:
        return str(error)
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None]
    return f"there is no program {missing[0]}" if missing else None
