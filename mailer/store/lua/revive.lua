-- Queue a job again that has ended without reaching everybody, with a fresh count of tries.
--
-- KEYS  1 the job's record, 2 wake, 3-5 agenda lanes, 6 the index of its state, 7 state:queued
-- ARGV  1 id, 2 its state and 3 its recipients as the caller saw them, 4 the new recipients
-- Returns  1, or 0 where the job has changed since: the caller looks again

-- include pieces
-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local job = redis.call('HMGET', KEYS[1], 'state', 'recipients', 'lane')
local _, _, recipients = whole(KEYS[1], false, false, job[2])
if job[1] ~= ARGV[2] or recipients ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'recipients', ARGV[4], 'updated', now, 'due', now,
  'since', now, 'tries', 0)
redis.call('HDEL', KEYS[1], 'expires', 'superseded', 'crashes')
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZADD', KEYS[7], now, ARGV[1])
event(ARGV[1], 'queued', 0)
redis.call('ZADD', KEYS[2 + tonumber(job[3])], now, ARGV[1])
if redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 1) end
return 1
