-- Ask to send messages now, within limits that all workers share: rates, by the generic cell rate
-- algorithm on this server's time, and connections. A request is granted by all of its limits, or by
-- none.
--
-- KEYS  1 paces, then for each limit: its state, its permits
-- ARGV  1 how far ahead (µs) a time is reserved, 2 for how long (µs) a permit holds, then requests
--       in JSON: {permit, limits: [{at: where in KEYS, name, connections, rates: [[interval,
--       tolerance], ...]}, ...]}; µs
-- Returns  for each request {1, when to send (µs)}: reserved, and not taken by anybody else; or
--          {0, when to ask again (µs), the name of the limit that says so}
--
-- A reserved time is near. What has to wait for longer is only told when its turn may be, so that
-- more urgent messages need not wait behind all that are queued.
-- State: `1`, `2`, ... the theoretical arrival time (TAT) of each rate, `p` that of the learned
-- pace, `turn` when the last one that waits was told to ask again, `held` the mean time (µs) for
-- which a permit is held.

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local horizon, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
local LONGEST_WAIT = 30000000  -- for a connection; µs
local RENEWED = 3600000  -- ms for which permits may be renewed until the next one is given
local replies, states = {}, {}

local function text(number) return string.format('%.0f', number) end

local function read(limit)
  local state = states[limit.at]
  if not state then
    state = { tat = {}, keep = 1 }
    local fields = { 'turn', 'held', 'p' }
    for i = 1, #limit.rates do fields[#fields + 1] = tostring(i) end
    local found = redis.call('HMGET', KEYS[limit.at], unpack(fields))
    state.turn, state.held = tonumber(found[1] or 0), tonumber(found[2] or 100000)
    state.paced = tonumber(found[3] or 0)
    for i = 1, #limit.rates do state.tat[i] = tonumber(found[3 + i] or 0) end
    local pace = redis.call('HGET', KEYS[1], limit.name)
    state.interval = pace and cjson.decode(pace).interval * 1000 or 0
    if limit.connections then
      redis.call('ZREMRANGEBYSCORE', KEYS[limit.at + 1], '-inf', text(now))
      state.open = redis.call('ZCARD', KEYS[limit.at + 1])
    end
    states[limit.at] = state
  end
  return state
end

-- When a limit's rates allow the next message, and how far apart those are that wait for that.
local function earliest(limit, state)
  local at, interval = now, 0
  for i, rate in ipairs(limit.rates) do
    local its = state.tat[i] - rate[2]
    if its > at then at, interval = its, rate[1] end
  end
  if state.interval > 0 and state.paced > at then at, interval = state.paced, state.interval end
  return at, interval
end

for r = 3, #ARGV do
  local request = cjson.decode(ARGV[r])
  local at, full, slowest, interval = now, nil, nil, 0
  for _, limit in ipairs(request.limits) do
    local state = read(limit)
    local its, apart = earliest(limit, state)
    if its > at then at, slowest, interval = its, limit, apart end
    if limit.connections and state.open >= limit.connections then full = limit end
  end
  if at - now > horizon then
    local state = states[slowest.at]
    state.turn = math.max(state.turn, at) + interval
    replies[#replies + 1] = { 0, text(state.turn), slowest.name }
  elseif full then
    local state = states[full.at]
    state.turn = math.max(state.turn, now) + state.held / full.connections
    state.turn = math.min(state.turn, now + LONGEST_WAIT)
    replies[#replies + 1] = { 0, text(state.turn), full.name }
  else
    for _, limit in ipairs(request.limits) do
      local state = states[limit.at]
      for i, rate in ipairs(limit.rates) do
        state.tat[i] = math.max(state.tat[i], at) + rate[1]
        state.keep = math.max(state.keep, state.tat[i] - now)
      end
      if state.interval > 0 then state.paced = at + state.interval end
      if limit.connections then
        state.open = state.open + 1
        redis.call('ZADD', KEYS[limit.at + 1], text(now + lease), request.permit)
        redis.call('PEXPIRE', KEYS[limit.at + 1], text(lease / 1000 + RENEWED))
      end
    end
    replies[#replies + 1] = { 1, text(at) }
  end
end

for key, state in pairs(states) do
  local fields = { 'turn', text(state.turn), 'held', text(state.held), 'p', text(state.paced) }
  for i, tat in ipairs(state.tat) do
    fields[#fields + 1] = tostring(i)
    fields[#fields + 1] = text(tat)
  end
  redis.call('HSET', KEYS[key], unpack(fields))
  local keep = math.max(state.keep, state.turn - now, state.paced - now, 60000000)
  redis.call('PEXPIRE', KEYS[key], text(keep / 1000))
end
return replies
