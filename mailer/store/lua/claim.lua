-- Claim jobs that are due, for one dispatcher to publish. A claimed job comes up again after the
-- dispatch timeout, unless a worker began it: so a claim that gets lost delays, and never loses.
--
-- KEYS  1 wake:urgent, 2 wake, 3-5 agenda lanes: high, normal, low
-- ARGV  1 room: the most normal and low ones, 2 urgent room: the most high ones,
--       3 dispatch timeout ms
-- Returns  {now, ms until the next one is due (-1: the agenda is empty), high, normal, low ids}
--
-- High goes first, then normal, then low; a tenth of the room is kept for each lower lane, so that
-- none starves. Where due jobs remain, the wake-up is left for a dispatcher that has room.

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[3], '')
local MOST_AT_ONCE = 1000  -- Lua's stack takes no more than 8,000 results of unpack
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_then = now + tonumber(ARGV[3])

local function take(lane, count, into)
  if count <= 0 then return end
  local ids = redis.call('ZRANGE', lane, '-inf', now, 'BYSCORE', 'LIMIT', 0, count)
  if #ids == 0 then return end
  for first = 1, #ids, MOST_AT_ONCE do
    local scores = {}
    for i = first, math.min(first + MOST_AT_ONCE - 1, #ids) do
      scores[#scores + 1], scores[#scores + 2] = until_then, ids[i]
      into[#into + 1] = ids[i]
    end
    redis.call('ZADD', lane, unpack(scores))
  end
end

local room, high, normal, low = tonumber(ARGV[1]), {}, {}, {}
take(KEYS[3], tonumber(ARGV[2]), high)
local rest = math.max(room - #high, math.ceil(room / 10))
-- a share below one is taken that often; the clock's last digits are chance enough
take(KEYS[5], math.floor(rest / 10 + (time[2] % 100) / 100), low)
take(KEYS[4], rest - #low, normal)
take(KEYS[5], rest - #normal - #low, low)

local wait = -1
for lane = 3, 5 do
  local first = redis.call('ZRANGE', KEYS[lane], 0, 0, 'WITHSCORES')
  if first[2] then
    local ahead = math.max(0, math.ceil(tonumber(first[2]) - now))
    if wait < 0 or ahead < wait then wait = ahead end
    local wake = lane == 3 and KEYS[1] or KEYS[2]
    if ahead == 0 and redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, 1) end
  end
end
return { now, wait, high, normal, low }
