"""Scripts of the directory in Redis: each is one atomic step, and has the same effect again.

A command whose answer was lost is repeated, and a server that was stopped may execute a copy of it
much later, after others. So each acquisition has an id, each write of an owner a number, and a
copy that comes late finds that it is over. A copy of `ACQUIRE` that comes after its caller gave up
makes that process an owner, or a waiter, that does not know it; it learns that with the first message
about it, and gives up again (`GIVE_UP`).

Keys, all with the service's hash tag. Those that a script computes are not declared, which only a
cluster would need.

``server``
    A hash: the run id of the Redis process, and since when it is seen. With another run id
    (restarted, a promoted replica, flushed), what was acquired may be missing, so nothing is
    acquired for the length of a lease: then every lease of before has ended.
``owner:<nonce>``
    The number of the process' lease, and the run id. It expires if the process does not refresh it.
``entry:<key>``
    A hash. ``value`` is the entry as it was written last. ``state``: who acquired it (``by``), under
    which lease, ``seq``: the number of its last write. ``before``: the state that it found.
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
""".replace("LEASE", str(round(LEASE * 1000)))


@dataclass(frozen=True, slots=True)
class Script:
    """A script, with the name that ``EVALSHA`` knows it by. ``name`` is for error messages."""

    name: str
    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)


def _script(name: str, body: str) -> Script:
    numbers = {"LEASE": LEASE * 1000, "OWNED": OWNED * 1000, "LOST_EPOCHS": LOST_EPOCHS}
    for constant, value in numbers.items():
        body = body.replace(constant, str(round(value)))
    return Script(name, f"{_PRELUDE}\n{body.strip()}\n")


START = _script(
    "starting a lease",
    """
-- nonce, number -> 'ok' or 'lost', replicas. A late copy does not replace a later lease.
local owner, number, run = prefix .. 'owner:' .. ARGV[2], tonumber(ARGV[3]), run_id()
local current = redis.call('GET', owner)
if current and tonumber(string.match(current, '^%d+')) > number then return {'lost'} end
redis.call('SET', owner, number .. ' ' .. run, 'PX', LEASE)
settling(run)
return {'ok', replicas()}
""",
)

REFRESH = _script(
    "refreshing the lease",
    """
-- nonce, number -> 'ok', replicas, wishes; or 'lost'
local owner = prefix .. 'owner:' .. ARGV[2]
if redis.call('GET', owner) ~= ARGV[3] .. ' ' .. run_id() then return {'lost'} end
redis.call('PEXPIRE', owner, LEASE)
return {'ok', replicas(), redis.call('SMEMBERS', prefix .. 'want:' .. ARGV[2])}
""",
)

ACQUIRE = _script(
    "acquiring a session",
    """
-- key, id, number of the lease, label ->
--   'held', value, state before, wanted; 'wait', label of the owner, milliseconds;
--   'settling', milliseconds; 'lapsed': the lease is over; 'over': this acquisition was released
local key, id, number, label = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local nonce, run = nonce_of(id), run_id()
local owner, entry, queue = prefix .. 'owner:' .. nonce, prefix .. 'entry:' .. key, prefix .. 'wait:' .. key
local lease = number .. ' ' .. run
local settle = settling(run)
if settle > 0 then return {'settling', settle} end
if lease_of(nonce) ~= lease then return {'lapsed'} end
local state, before = state_of(key)

local function held()
  redis.call('PEXPIRE', owner, LEASE)
  keep(entry, OWNED)
  redis.call('LREM', queue, 0, id)
  return {'held', redis.call('HGET', entry, 'value'), before, first_waiter(key) and 1 or 0}
end

if state and state.by == id and state.run == run then  -- the answer was lost
  if state.released then return {'over'} end
  state.lease = lease
  redis.call('HSET', entry, 'state', cjson.encode(state))
  return held()
end

-- Its own, from a call before this one: nothing that another may have done is in between.
local own = state and not state.released and nonce_of(state.by) == nonce
local live = state and not own and state.lease and lease_of(nonce_of(state.by)) == state.lease
live = live and state.run == run
local first = first_waiter(key)
if own or (not live and (not first or first == id)) then
  local epoch, revision = 0, 0
  before = false
  if state then
    no_longer_wanted(state.by, key)
    if state.run ~= run then
      state.run, state.released, state.epoch = run, false, state.epoch + LOST_EPOCHS
    end
    epoch, revision, before = state.epoch, state.revision, cjson.encode(state)
  end
  -- The first command that writes is one that a full server refuses. Those after it never are.
  redis.call('HSET', entry, 'state', cjson.encode({
    by = id, label = label, lease = lease, run = run, epoch = epoch + 1, revision = revision + 1, seq = 0
  }))
  if before then redis.call('HSET', entry, 'before', before) else redis.call('HDEL', entry, 'before') end
  return held()
end

redis.call('PEXPIRE', owner, LEASE)
if not redis.call('LPOS', queue, id) then redis.call('RPUSH', queue, id) end
redis.call('PEXPIRE', queue, 60000)
local other
if live then
  other = nonce_of(state.by)
  local want = prefix .. 'want:' .. other
  if redis.call('SADD', want, state.by .. ' ' .. key) == 1 then
    mail(other, 'w' .. state.by .. ' ' .. key)
  end
  redis.call('PEXPIRE', want, 60000)
else
  other = nonce_of(tell_first_waiter(key))
end
return {'wait', state and state.label or '', redis.call('PTTL', prefix .. 'owner:' .. other)}
""",
)

WRITE = _script(
    "writing a session",
    """
-- key, id, seq, value, revision, milliseconds to keep it, 'write' or 'release' or 'remove' -> 'ok' or 'lost'
local key, id, seq, how = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[8]
local entry, run = prefix .. 'entry:' .. key, run_id()
local state = state_of(key)
if not state or state.by ~= id or state.run ~= run then
  return {how ~= 'write' and redis.call('EXISTS', prefix .. 'done:' .. id) == 1 and 'ok' or 'lost'}
end
if state.released and how == 'write' then return {'lost'} end
if state.seq > seq then return {'ok'} end  -- a late copy
if how ~= 'write' then
  -- Redis refuses only the first command of a script for want of memory. This one it never does: an
  -- owner must be able to hand a session over also then.
  redis.call('PERSIST', entry)
  redis.call('SET', prefix .. 'done:' .. id, '1', 'PX', 30000)
end
if how == 'remove' then
  redis.call('DEL', entry)
elseif state.seq < seq then
  state.seq, state.revision = seq, tonumber(ARGV[6])
  if how == 'release' then state.released, state.lease = true, nil end
  redis.call('HSET', entry, 'value', ARGV[5], 'state', cjson.encode(state))
end
if how ~= 'remove' then
  local milliseconds = tonumber(ARGV[7])
  if how == 'write' then keep(entry, math.max(milliseconds, OWNED))
  else redis.call('PEXPIRE', entry, milliseconds) end
end
if how ~= 'write' then
  no_longer_wanted(id, key)
  tell_first_waiter(key)
end
return {'ok'}
""",
)

GIVE_UP = _script(
    "giving up an acquisition",
    """
-- key, id: as if it had not been made. Only of an acquisition that its caller was not told of.
local key, id = ARGV[2], ARGV[3]
local entry, state, before = prefix .. 'entry:' .. key, state_of(key)
redis.call('LREM', prefix .. 'wait:' .. key, 0, id)
if state and state.by == id and state.seq == 0 then
  if before then redis.call('HSET', entry, 'state', before) else redis.call('DEL', entry) end
  redis.call('HDEL', entry, 'before')
  no_longer_wanted(id, key)
end
tell_first_waiter(key)
return {'ok'}
""",
)

KEEP = _script(
    "keeping owned sessions",
    """
-- key, id, key, id, …: the entries that these acquisitions own do not expire yet
for i = 2, #ARGV, 2 do
  local state = state_of(ARGV[i])
  if state and state.by == ARGV[i + 1] and not state.released then
    keep(prefix .. 'entry:' .. ARGV[i], OWNED)
  end
end
return {'ok'}
""",
)

READ = _script(
    "reading sessions",
    """
-- key, key, … -> value and state of each
local found = {}
for i = 2, #ARGV do
  found[i - 1] = redis.call('HMGET', prefix .. 'entry:' .. ARGV[i], 'value', 'state')
end
return found
""",
)

LEAVE = _script(
    "ending the lease",
    """
-- nonce
for _, kind in ipairs({'owner:', 'mail:', 'want:'}) do redis.call('DEL', prefix .. kind .. ARGV[2]) end
return {'ok'}
""",
)
