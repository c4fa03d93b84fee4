"""`RedisServer`: real servers."""

import pytest

from kato_consul.testing.redis import RedisFailed, RedisServer
from tests.testing.waiting import eventually


def test_server_and_its_options() -> None:
    """A server has the options that it is given, and is gone after its end."""
    with RedisServer(config={"maxmemory": "100mb"}, password="secret") as server:
        assert server.command("CONFIG", "GET", "maxmemory")[1] == str(100 * 2**20).encode()
        assert server.url == f"redis://:secret@127.0.0.1:{server.port}/0"
        folder = server._scratch
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
