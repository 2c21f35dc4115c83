-- Begin a batch, or go on with it: its letter is kept once for all of its emails.
--
-- KEYS  1 the batch, 2 what the blobs' keys begin with, 3 blob-uses
-- ARGV  1 its name, 2 its letter, 3 the digest of that, 4 seconds after which it goes where nothing
--       was enqueued, then the SHA-256 of each blob that the letter needs
-- Returns  {'ok', when it was begun (ms)}, {'other letter'} where the batch is known with another one, {'canceled'},
--          or {'missing', sha256...} where blobs are to be uploaded first

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[3], '')
local batch = redis.call('HMGET', KEYS[1], 'digest', 'canceled', 'created')
if batch[2] then return { 'canceled' } end
if batch[1] then return batch[1] == ARGV[3] and { 'ok', tonumber(batch[3]) } or { 'other letter' } end
local missing, blobs = { 'missing' }, {}
for i = 5, #ARGV do
  blobs[#blobs + 1] = ARGV[i]
  if redis.call('EXISTS', KEYS[2] .. ARGV[i]) == 0 then missing[#missing + 1] = ARGV[i] end
end
if #missing > 1 then return missing end
for _, sha in ipairs(blobs) do
  redis.call('PERSIST', KEYS[2] .. sha)
  redis.call('HINCRBY', KEYS[3], sha, 1)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'letter', ARGV[2], 'digest', ARGV[3], 'rows', 0,
  'jobs', 0, 'blobs', table.concat(blobs, ' '), 'created', now)
-- one that brings blobs stays: they would have nobody to release them
if #blobs == 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
return { 'ok', now }
