"""Real Redis servers for tests. They need the extra ``redis``, too."""

from kato_consul.testing.redis.binary import REDIS, RedisNotFound
from kato_consul.testing.redis.server import RedisFailed, RedisServer

__all__ = ["REDIS", "RedisFailed", "RedisNotFound", "RedisServer"]
