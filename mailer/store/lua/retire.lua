-- Forget ended jobs whose retention is over, the blobs that only they needed, and the supersede keys
-- of which they were the last.
--
-- KEYS  1 what the blobs' keys begin with, 2 blob-uses, 3 the index of their state, 4 what the
--       supersede keys' keys begin with, then the jobs' records
-- ARGV  1 their state, 2 the latest ms at which they may have ended, then the jobs' ids
-- Returns  how many were forgotten; a job that was revived meanwhile is kept,
--          and an entry without a record goes

-- include release
-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[3], '')
local count = 0
for i = 5, #KEYS do
  local id = ARGV[i - 2]
  local job = redis.call('HMGET', KEYS[i], 'state', 'blobs', 'latest')
  local ended = redis.call('ZSCORE', KEYS[3], id)
  if not job[1] then
    redis.call('ZREM', KEYS[3], id)
    count = count + 1
  elseif job[1] == ARGV[1] and tonumber(ended) <= tonumber(ARGV[2]) then
    release(job[2], KEYS[1], KEYS[2])
    local latest = job[3] and KEYS[4] .. job[3]
    if latest and redis.call('GET', latest) == id then redis.call('DEL', latest) end
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[3], id)
    count = count + 1
  end
end
return count
