-- Forget ended jobs whose retention is over, the blobs that only they needed, the supersede keys of
-- which they were the last, and the batches.
--
-- KEYS  1 what the blobs' keys begin with, 2 blob-uses, 3 the index of their state, 4 what the
--       supersede keys' keys begin with, 5 what the batches' keys begin with, then the jobs' records
-- ARGV  1 their state, 2 the latest ms at which they may have ended, then the jobs' ids
-- Returns  how many were forgotten; a job that was revived meanwhile is kept,
--          and an entry without a record goes

-- include release
-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[3], '')

-- One job of a batch is recorded no more, as its id tells (see job_of_batch in keys).
local function leave(id)
  if string.sub(id, 15, 15) ~= '8' then return end
  local batch = KEYS[5] .. table.concat({ string.match(id, '^(%x+)%-(%x+)%-8(%x+)%-8(%x)') })
  if redis.call('HINCRBY', batch, 'jobs', -1) > 0 then return end
  release(redis.call('HGET', batch, 'blobs') or nil, KEYS[1], KEYS[2])
  redis.call('DEL', batch)
end

local count = 0
for i = 6, #KEYS do
  local id = ARGV[i - 3]
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
    leave(id)
    count = count + 1
  end
end
return count
