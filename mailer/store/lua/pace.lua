-- Learn from a server's replies how quickly it wants to be sent to.
--
-- KEYS  1 paces
-- ARGV  1 the limit's name, 2 `slower` or `faster`, 3 the first interval, 4 the longest, 5 the
--       shortest that is worth while (ms), 6 why
-- Returns  the interval between messages now (ms); 0 where there is none
--
-- One step in each interval: twenty refusals of one burst are one.

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[1], ARGV[1])
local pace = known and cjson.decode(known) or nil
if pace and pace.step + pace.interval > now then return pace.interval end
if ARGV[2] == 'slower' then
  local interval = pace and math.min(pace.interval * 2, tonumber(ARGV[4])) or tonumber(ARGV[3])
  pace = { interval = interval, since = pace and pace.since or now, reason = ARGV[6] }
elseif pace then
  pace.interval = math.floor(pace.interval * 0.9)
  if pace.interval < tonumber(ARGV[5]) then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return 0
  end
else
  return 0
end
pace.step = now
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(pace))
return pace.interval
