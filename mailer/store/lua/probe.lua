-- Ask to try a relay whose pause is over: one message of one worker may, until it is known whether
-- the relay works again.
--
-- KEYS  1 relays
-- ARGV  1 relay, 2 ms after which another may try, for nothing was heard of this one
-- Returns  0: it may be tried; else the ms after which to ask again

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then return 0 end
local pause = cjson.decode(known)
local held = math.max(pause['until'], pause.probe or 0)
if held > now then return held - now end
pause.probe = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(pause))
return 0
