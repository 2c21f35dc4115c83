-- Record the message of a job anew, with what was fetched for it pinned, and count the uses of the
-- blobs. Only the holder of the current token can.
--
-- KEYS  1 the job's record, 2 what the blobs' keys begin with, 3 blob-uses
-- ARGV  1 token, 2 message, then the sha256 of each blob that was fetched
-- Returns  'done'; 'stale' where the token is; 'gone' where a blob is, and must be fetched again.
--          In both of these nothing was changed.

local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'blobs')
if job[1] ~= 'sending' or job[2] ~= ARGV[1] then return 'stale' end
for i = 3, #ARGV do
  if redis.call('EXISTS', KEYS[2] .. ARGV[i]) == 0 then return 'gone' end
end
local digests = {}
for digest in string.gmatch(job[3] or '', '%S+') do digests[#digests + 1] = digest end
for i = 3, #ARGV do
  redis.call('PERSIST', KEYS[2] .. ARGV[i])
  redis.call('HINCRBY', KEYS[3], ARGV[i], 1)
  digests[#digests + 1] = ARGV[i]
end
redis.call('HSET', KEYS[1], 'message', ARGV[2], 'blobs', table.concat(digests, ' '))
return 'done'
