-- Put claimed jobs that no worker began back on the agenda as due now: the worker stops.
--
-- KEYS  1 wake, 2-4 agenda lanes, then the jobs' records
-- ARGV  the jobs' ids in the order of their records
-- Returns  how many were put back

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[2], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = 0
for i = 5, #KEYS do
  local job = redis.call('HMGET', KEYS[i], 'state', 'due', 'lane')
  local waiting = job[1] == 'scheduled' or job[1] == 'queued' or job[1] == 'deferred'
  if waiting and tonumber(job[2]) <= now then
    redis.call('ZADD', KEYS[1 + tonumber(job[3])], job[2], ARGV[i - 4])
    count = count + 1
  end
end
if count > 0 and redis.call('LLEN', KEYS[1]) == 0 then redis.call('RPUSH', KEYS[1], 1) end
return count
