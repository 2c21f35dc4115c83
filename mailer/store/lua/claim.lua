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

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_then = now + tonumber(ARGV[3])

local function take(lane, count, into)
  if count <= 0 then return end
  local ids = redis.call('ZRANGE', lane, '-inf', now, 'BYSCORE', 'LIMIT', 0, count)
  if #ids == 0 then return end
  local scores = {}
  for i, id in ipairs(ids) do
    scores[2 * i - 1], scores[2 * i] = until_then, id
    into[#into + 1] = id
  end
  redis.call('ZADD', lane, unpack(scores))
end

local room, high, normal, low = tonumber(ARGV[1]), {}, {}, {}
take(KEYS[3], tonumber(ARGV[2]), high)
local rest = math.max(room - #high, math.ceil(room / 10))
take(KEYS[5], math.floor(rest / 10), low)
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
