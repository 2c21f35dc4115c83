-- Cancel those of some jobs that wait. Once a worker has begun one, it is too late.
--
-- KEYS  1-3 agenda lanes, 4-14 state indexes in the order of JobState, then the jobs' records
-- ARGV  the jobs' ids
-- Returns  for each the state it is in now ('canceled': done), or false where it isn't recorded

-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local index = { scheduled = 4, queued = 5, deferred = 7, canceled = 13 }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local states = {}
for i, id in ipairs(ARGV) do
  local record = KEYS[14 + i]
  local job = redis.call('HMGET', record, 'state', 'lane', 'tries')
  local state = job[1]
  if state == 'scheduled' or state == 'queued' or state == 'deferred' then
    redis.call('HSET', record, 'state', 'canceled', 'updated', now)
    redis.call('ZREM', KEYS[tonumber(job[2])], id)
    redis.call('ZREM', KEYS[index[state]], id)
    redis.call('ZADD', KEYS[index.canceled], now, id)
    event(id, 'canceled', job[3] or 0)
    state = 'canceled'
  end
  states[i] = state
end
return states
