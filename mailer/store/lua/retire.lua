-- Forget ended jobs whose retention is over, and the blobs that only they needed.
--
-- KEYS  1 what the blobs' keys begin with, 2 blob-uses, 3 the index of their state, then the jobs' records
-- ARGV  1 their state, 2 the latest ms at which they may have ended, then the jobs' ids
-- Returns  how many were forgotten; a job that was revived meanwhile is kept,
--          and an entry without a record goes

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[3], '')
local count = 0
for i = 4, #KEYS do
  local job = redis.call('HMGET', KEYS[i], 'state', 'updated', 'blobs')
  if not job[1] then
    redis.call('ZREM', KEYS[3], ARGV[i - 1])
    count = count + 1
  elseif job[1] == ARGV[1] and tonumber(job[2]) <= tonumber(ARGV[2]) then
    for sha in string.gmatch(job[3] or '', '%S+') do
      if redis.call('HINCRBY', KEYS[2], sha, -1) <= 0 then
        redis.call('DEL', KEYS[1] .. sha)
        redis.call('HDEL', KEYS[2], sha)
      end
    end
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[3], ARGV[i - 1])
    count = count + 1
  end
end
return count
