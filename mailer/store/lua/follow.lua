-- Give a reader of a group its next events: first those that a reader was given a while ago and did
-- not acknowledge, for it may be dead, then new ones. A group begins with the oldest that is kept.
--
-- KEYS  1 events, 2 events:on
-- ARGV  1 group, 2 the most, 3 ms after which what was not acknowledged is given again, then the
--       ids that are acknowledged
-- Returns  {what events:on holds, 1, {}} where events were dropped before the group was through with
--          them: it goes on with the oldest that is kept; else {what events:on holds, 0, events}
--
-- All readers are one consumer to Redis: what tells them apart is only when each event was given.

local READER = 'reader'
local group, most, events, dropped = ARGV[1], tonumber(ARGV[2]), {}, 0
if #ARGV > 3 then redis.call('XACK', KEYS[1], group, unpack(ARGV, 4)) end

-- Returns the id of the event that the group was given last.
local function last_given()
  if redis.call('EXISTS', KEYS[1]) == 1 then
    for _, found in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
      local facts = {}
      for i = 1, #found, 2 do facts[found[i]] = found[i + 1] end
      if facts.name == group then return facts['last-delivered-id'] end
    end
  end
  redis.call('XGROUP', 'CREATE', KEYS[1], group, '0', 'MKSTREAM')
  return '0-0'
end

local function event(id) return redis.call('XRANGE', KEYS[1], id, id)[1] end

-- The oldest go first: where the last one given is there, so are all that were not given yet.
local last = last_given()
if last ~= '0-0' and not event(last) then
  dropped = 1
  redis.call('XGROUP', 'SETID', KEYS[1], group, '0')
end
local late = redis.call('XPENDING', KEYS[1], group, 'IDLE', ARGV[3], '-', '+', most)
for _, given in ipairs(late) do
  if not event(given[1]) then
    dropped = 1
    redis.call('XACK', KEYS[1], group, given[1])
  end
end
if dropped == 0 then
  for i, given in ipairs(late) do
    redis.call('XCLAIM', KEYS[1], group, READER, 0, given[1], 'JUSTID')
    events[i] = event(given[1])
  end
  if #events < most then
    local new = redis.call('XREADGROUP', 'GROUP', group, READER, 'COUNT', most - #events,
      'STREAMS', KEYS[1], '>')
    for _, found in ipairs(new and new[1][2] or {}) do events[#events + 1] = found end
  end
end
return { redis.call('GET', KEYS[2]), dropped, events }
