-- Prolong leases of jobs whose transaction runs on or still waits for a connection.
--
-- KEYS  1-3 agenda lanes, then the jobs' records
-- ARGV  1 lease ms, then for each job: id, token
-- Returns  the ids whose lease is no longer ours: the caller must let go of them

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[1], '')
local time = redis.call('TIME')
local lease = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
local gone = {}
for i = 4, #KEYS do
  local id, token = ARGV[2 * i - 6], ARGV[2 * i - 5]
  local job = redis.call('HMGET', KEYS[i], 'state', 'token', 'lane')
  if job[1] == 'sending' and job[2] == token then
    redis.call('HSET', KEYS[i], 'lease', lease)
    redis.call('ZADD', KEYS[tonumber(job[3])], lease, id)
  else
    gone[#gone + 1] = id
  end
end
return gone
