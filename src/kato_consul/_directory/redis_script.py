"""Script in Redis: its text, with the functions that all scripts of the directory have.

Keys, all with the service's hash tag. Those that a script computes are not declared, which only a
cluster would need.

``server``
    A hash: the run id of the Redis process, and since when it is seen. With another run id
    (restarted, a promoted replica, flushed), what was acquired may be missing, so nothing is
    acquired for the length of a lease: then every lease of before has ended.
``owner:<nonce>``
    The number of the process' lease, and the run id. It expires if the process does not refresh it.
``entry:<key>``
    A hash. ``value`` is the entry as it was written last. ``state``: who acquired it (``by``),
    under which lease, ``seq``: the number of its last write, ``free``: it was given up. ``before``:
    the state that it found.
``wait:<key>``
    The acquisitions that wait, in the order of arrival.
``mail:<nonce>``, ``want:<nonce>``
    Messages for a process, read as they come, and the wishes among them, read with each refresh: a
    message may be lost. ``w<id> <key>``: others want what it acquired. ``f<id> <key>``: it is next.
``done:<id>``
    An acquisition that was released, while its release may be repeated.
"""

import hashlib
from dataclasses import dataclass, field

LEASE = 2.0
"""Seconds of a lease in Redis, from when it is refreshed there."""

OWNED = 3600.0
"""Seconds that an owned entry is kept at least, so that it does not expire while it is owned."""

LOST_EPOCHS = 1000
"""Acquisitions that a replica may have missed: after a change of server, epochs go on with so much
more. Otherwise an owner would take an epoch of now for one of its own."""

_PRELUDE = """
local prefix = ARGV[1]

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local function nonce_of(id)
  return string.match(id, '^[^:]+')
end

local function lease_of(nonce)
  return redis.call('GET', prefix .. 'owner:' .. nonce)
end

local function mail(nonce, message)
  local box = prefix .. 'mail:' .. nonce
  if redis.call('LLEN', box) < 1000 then
    redis.call('RPUSH', box, message)
    redis.call('PEXPIRE', box, 10000)
  end
end

-- The first waiter whose process lives; those before it are removed.
local function first_waiter(key)
  local queue = prefix .. 'wait:' .. key
  while true do
    local id = redis.call('LINDEX', queue, 0)
    if not id then return nil end
    if lease_of(nonce_of(id)) then return id end
    redis.call('LPOP', queue)
  end
end

local function tell_first_waiter(key)
  local id = first_waiter(key)
  if id then mail(nonce_of(id), 'f' .. id .. ' ' .. key) end
  return id
end

local function state_of(key)
  local fields = redis.call('HMGET', prefix .. 'entry:' .. key, 'state', 'before')
  return fields[1] and cjson.decode(fields[1]), fields[2]
end

local function is_owned(state, run)
  if not state or state.free or state.run ~= run then return false end
  return lease_of(nonce_of(state.by)) == state.lease
end

local function no_longer_wanted(id, key)
  redis.call('SREM', prefix .. 'want:' .. nonce_of(id), id .. ' ' .. key)
end

local function keep(entry, milliseconds)
  if redis.call('PTTL', entry) < milliseconds then redis.call('PEXPIRE', entry, milliseconds) end
end

-- Milliseconds until the leases of the time before this server process have ended.
local function settling(run)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local seen = redis.call('HMGET', prefix .. 'server', 'run', 'since')
  local left = seen[1] == run and tonumber(seen[2]) + LEASE - now
  if left and left <= LEASE then return math.max(left, 0) end
  redis.call('HSET', prefix .. 'server', 'run', run, 'since', string.format('%.0f', now))
  return LEASE
end

local function replicas()
  return tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)')) or 0
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script, with the name that ``EVALSHA`` knows it by. ``name`` is for error messages."""

    name: str
    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


def script(name: str, body: str) -> Script:
    """Return a script with these functions, and numbers in the place of constants."""
    numbers = {"LEASE": LEASE * 1000, "OWNED": OWNED * 1000, "LOST_EPOCHS": LOST_EPOCHS}
    text = f"{_PRELUDE}\n{body.strip()}\n"
    for constant, value in numbers.items():
        text = text.replace(constant, str(round(value)))
    return Script(name, text)
