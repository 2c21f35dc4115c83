-- Note a fault of a relay, and pause it for all workers: longer with each fault in a row.
--
-- KEYS  1 relays
-- ARGV  1 relay, 2 reason, 3 worker, 4 the first pause, 5 the longest one (ms)
-- Returns  {now, until when it is paused (ms), 1 where it worked until now}
--
-- Faults during a pause don't add up: they are of transactions that began before it.

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[1], ARGV[1])
local pause = known and cjson.decode(known) or { since = now, faults = 0, ['until'] = 0 }
if pause['until'] > now then return { now, pause['until'], 0 } end
local news = known and 0 or 1
-- 2^1024 would be no number any more
local length = tonumber(ARGV[4]) * 2 ^ math.min(pause.faults, 16)
pause['until'] = now + math.min(length, tonumber(ARGV[5]))
pause.faults, pause.reason, pause.by, pause.probe = pause.faults + 1, ARGV[2], ARGV[3], nil
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(pause))
return { now, pause['until'], news }
