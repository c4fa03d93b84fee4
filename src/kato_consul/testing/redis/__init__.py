"""Real Redis servers for tests. They need the extra ``redis``, too."""

from kato_consul.testing.redis.binary import RedisNotFound, find_redis
from kato_consul.testing.redis.server import RedisFailed, RedisServer

__all__ = ["RedisFailed", "RedisNotFound", "RedisServer", "find_redis"]
