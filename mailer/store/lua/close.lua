-- Cancel a batch: nothing more comes into it. Its jobs are canceled one by one, see cancel.lua.
--
-- KEYS  1 the batch
-- Returns  1, or 0 where there is none

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'canceled', time[1] * 1000 + math.floor(time[2] / 1000))
return 1
