-- Give a job that waits another time.
--
-- KEYS  1 the job's record, 2 wake, 3-5 agenda lanes, 6 state:scheduled, 7 state:queued
-- ARGV  1 id, 2 due ms (0: now)
-- Returns  the state it is in now and 1; or 0 where it can't be rescheduled in that state, and -1
--          where it would expire before; false where it isn't recorded
--
-- The Date header follows the time, unless a copy with the old one may have been sent.

-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local job = redis.call('HMGET', KEYS[1], 'state', 'lane', 'token', 'expires', 'tries')
local state = job[1]
if not state then return false end
if state ~= 'scheduled' and state ~= 'queued' and state ~= 'deferred' then return { state, 0 } end
local due = math.max(tonumber(ARGV[2]), now)
local expires = tonumber(job[4] or 0)
if expires > 0 and due >= expires and due > now then return { state, -1 } end
local new = state
if state ~= 'deferred' then new = due > now and 'scheduled' or 'queued' end
redis.call('HSET', KEYS[1], 'due', due, 'updated', now, 'state', new)
redis.call('HDEL', KEYS[1], 'held')
if state ~= 'deferred' then redis.call('HSET', KEYS[1], 'since', due) end
if not job[3] then redis.call('HSET', KEYS[1], 'date', math.floor(due / 1000)) end
redis.call('ZADD', KEYS[2 + tonumber(job[2])], due, ARGV[1])
if new ~= state then
  redis.call('ZREM', state == 'scheduled' and KEYS[6] or KEYS[7], ARGV[1])
  redis.call('ZADD', new == 'scheduled' and KEYS[6] or KEYS[7], now, ARGV[1])
  event(ARGV[1], new, job[5] or 0)
end
if due < now + 1000 and redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 1) end
return { new, 1 }
