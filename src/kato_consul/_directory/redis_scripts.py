"""Scripts of the directory in Redis: each is one atomic step, and has the same effect again.

A command whose answer was lost is repeated, and a server that was stopped may execute a copy of it
much later, after others. So each acquisition has an id, each write of an owner a number, and a
copy that comes late finds that it is over. A copy of `ACQUIRE` that comes after its caller gave up
makes that process an owner, or a waiter, that does not know it; it learns that with the first
message about it, and gives up again (`GIVE_UP`).
"""

from kato_consul._directory.redis_script import script

START = script(
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

REFRESH = script(
    "refreshing the lease",
    """
-- nonce, number -> 'ok', replicas, wishes; or 'lost'
local owner = prefix .. 'owner:' .. ARGV[2]
if redis.call('GET', owner) ~= ARGV[3] .. ' ' .. run_id() then return {'lost'} end
redis.call('PEXPIRE', owner, LEASE)
return {'ok', replicas(), redis.call('SMEMBERS', prefix .. 'want:' .. ARGV[2])}
""",
)

ACQUIRE = script(
    "acquiring a session",
    """
-- key, id, number of the lease, label ->
--   'held', value, state before, wanted; 'wait', label of the owner, milliseconds;
--   'settling', milliseconds; 'lapsed': the lease is over; 'over': this acquisition was given up
local key, id, number, label = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local nonce, run = nonce_of(id), run_id()
local owner, entry = prefix .. 'owner:' .. nonce, prefix .. 'entry:' .. key
local queue = prefix .. 'wait:' .. key
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
  if state.free then return {'over'} end
  state.lease = lease
  redis.call('HSET', entry, 'state', cjson.encode(state))
  return held()
end

-- Its own, from a call before this one: nothing that another may have done is in between.
local own = state and not state.free and nonce_of(state.by) == nonce
local live = not own and is_owned(state, run)
local first = first_waiter(key)
if own or (not live and (not first or first == id)) then
  local epoch, revision, incarnation = 0, 0, nonce
  before = false
  if state then
    no_longer_wanted(state.by, key)
    if state.run ~= run then
      state.run, state.released, state.epoch = run, false, state.epoch + LOST_EPOCHS
    end
    epoch, revision, before = state.epoch, state.revision, cjson.encode(state)
    incarnation = state.incarnation
  end
  -- The first command that writes is one that a full server refuses. Those after it never are.
  redis.call('HSET', entry, 'state', cjson.encode({
    by = id, label = label, lease = lease, run = run, seq = 0,
    epoch = epoch + 1, revision = revision + 1, incarnation = incarnation
  }))
  if before then redis.call('HSET', entry, 'before', before)
  else redis.call('HDEL', entry, 'before') end
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

WRITE = script(
    "writing a session",
    """
-- key, id, seq, value, revision, milliseconds to keep it, '1' if released in order, and 'write'
-- or 'release' -> 'ok' or 'lost'
local key, id, seq, how = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[9]
local entry, run = prefix .. 'entry:' .. key, run_id()
local state = state_of(key)
if not state or state.by ~= id or state.run ~= run then
  local is_done = how == 'release' and redis.call('EXISTS', prefix .. 'done:' .. id) == 1
  return {is_done and 'ok' or 'lost'}
end
if state.free and how == 'write' then return {'lost'} end
if state.seq > seq then return {'ok'} end  -- a late copy
if how == 'release' then
  -- Redis refuses only the first command of a script for want of memory. This one it never does: an
  -- owner must be able to hand a session over also then.
  redis.call('PERSIST', entry)
  redis.call('SET', prefix .. 'done:' .. id, '1', 'PX', 30000)
end
if state.seq < seq then
  state.seq, state.revision, state.released = seq, tonumber(ARGV[6]), ARGV[8] == '1'
  state.free = how == 'release'
  redis.call('HSET', entry, 'value', ARGV[5], 'state', cjson.encode(state))
end
local milliseconds = tonumber(ARGV[7])
if how == 'write' then
  keep(entry, math.max(milliseconds, OWNED))
else
  redis.call('PEXPIRE', entry, milliseconds)
  no_longer_wanted(id, key)
  tell_first_waiter(key)
end
return {'ok'}
""",
)

GIVE_UP = script(
    "giving up an acquisition",
    """
-- key, id: as if it had not been made. Only of an acquisition that its caller was not told of.
-- The owner does not know which ones it was told of under an earlier lease, and it may have changed
-- the session in KATO under them: so they stay, and the next owner takes over.
local key, id = ARGV[2], ARGV[3]
local entry, state, before = prefix .. 'entry:' .. key, state_of(key)
redis.call('LREM', prefix .. 'wait:' .. key, 0, id)
local current = state and state.lease == lease_of(nonce_of(id))
if current and state.by == id and state.seq == 0 and not state.free then
  if before then redis.call('HSET', entry, 'state', before) else redis.call('DEL', entry) end
  redis.call('HDEL', entry, 'before')
  no_longer_wanted(id, key)
end
tell_first_waiter(key)
return {'ok'}
""",
)

DISOWN = script(
    "giving up a session",
    """
-- key, id: whatever was done under this acquisition, it is taken over, and not handed over
local key, id, state = ARGV[2], ARGV[3], state_of(ARGV[2])
if state and state.by == id and not state.free then
  redis.call('PERSIST', prefix .. 'entry:' .. key)  -- as above: never refused for want of memory
  state.free, state.released = true, false
  redis.call('HSET', prefix .. 'entry:' .. key, 'state', cjson.encode(state))
  keep(prefix .. 'entry:' .. key, OWNED)
  no_longer_wanted(id, key)
end
tell_first_waiter(key)
return {'ok'}
""",
)

KEEP = script(
    "keeping owned sessions",
    """
-- key, id, key, id, …: the entries that these acquisitions own do not expire yet
for i = 2, #ARGV, 2 do
  local state = state_of(ARGV[i])
  if state and state.by == ARGV[i + 1] and not state.free then
    keep(prefix .. 'entry:' .. ARGV[i], OWNED)
  end
end
return {'ok'}
""",
)

READ = script(
    "reading sessions",
    """
-- key, key, … -> value and state of each, and 1 if it is owned
local found, run = {}, run_id()
for i = 2, #ARGV do
  local fields = redis.call('HMGET', prefix .. 'entry:' .. ARGV[i], 'value', 'state')
  local state = fields[2] and cjson.decode(fields[2])
  fields[3] = is_owned(state, run) and 1 or 0
  found[i - 1] = fields
end
return found
""",
)

LIMITS = script(
    "reading the server's limits",
    """
-- -> what it does when it is full, and how many bytes that is; 0: there is no limit
local memory = redis.call('INFO', 'memory')
return {string.match(memory, 'maxmemory_policy:([%w-]+)'), string.match(memory, 'maxmemory:(%d+)')}
""",
)

LEAVE = script(
    "ending the lease",
    """
-- nonce
for _, kind in ipairs({'owner:', 'mail:', 'want:'}) do
  redis.call('DEL', prefix .. kind .. ARGV[2])
end
return {'ok'}
""",
)
