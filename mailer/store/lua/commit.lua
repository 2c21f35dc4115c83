-- Note of jobs, right before the end of their messages is said, that from now on nobody but the
-- server knows whether they left. Only the holder of a current lease can.
--
-- KEYS  the jobs' records
-- ARGV  for each job: token, the relay and the recipients of the message (JSON)
-- Returns  for each job 1, or 0 where the lease is lost or over: its message must not be completed

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {}
for i, record in ipairs(KEYS) do
  local job = redis.call('HMGET', record, 'state', 'token', 'lease')
  local ours = job[1] == 'sending' and job[2] == ARGV[2 * i - 1] and tonumber(job[3]) > now
  if ours then redis.call('HSET', record, 'committed', ARGV[2 * i]) end
  reply[i] = ours and 1 or 0
end
return reply
