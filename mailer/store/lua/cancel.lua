-- Cancel a job that waits. Once a worker has begun it, it is too late.
--
-- KEYS  1 the job's record, 2-4 agenda lanes, 5-15 state indexes in the order of JobState
-- ARGV  1 id
-- Returns  the state it is in now ('canceled': done), or false where it isn't recorded

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[2], '')
local index = { scheduled = 5, queued = 6, deferred = 8, canceled = 14 }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local job = redis.call('HMGET', KEYS[1], 'state', 'lane')
local state = job[1]
if not state then return false end
if state ~= 'scheduled' and state ~= 'queued' and state ~= 'deferred' then return state end
redis.call('HSET', KEYS[1], 'state', 'canceled', 'updated', now)
redis.call('ZREM', KEYS[1 + tonumber(job[2])], ARGV[1])
redis.call('ZREM', KEYS[index[state]], ARGV[1])
redis.call('ZADD', KEYS[index.canceled], now, ARGV[1])
return 'canceled'
