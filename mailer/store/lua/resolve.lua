-- End the doubt about an unconfirmed job, by the word of a person.
--
-- KEYS  1 the job's record, 2 state:unconfirmed, 3 the index of its new state, 4 what the blobs'
--       keys begin with, 5 blob-uses
-- ARGV  1 id, 2 its recipients as the caller saw them, 3 the new recipients, 4 the new state,
--       5 what the person says
-- Returns  1, or 0 where the job has changed since: the caller looks again

-- include pieces
-- include keep
-- include release
-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local job = redis.call('HMGET', KEYS[1], 'token', 'latest', 'superseded', 'created', 'lane',
  'expires', 'head', 'state', 'attempts', 'blobs', 'recipients', 'tries')
if job[8] ~= 'unconfirmed' or job[11] ~= ARGV[2] then return 0 end
-- the values of an Attempt, in their order
local attempt = string.format('[%d,%.3f,"resolved",0.0,null,null,null,null,null,%s]\n',
  math.max(tonumber(job[12] or 0), 1), now / 1000, cjson.encode(ARGV[5]))
local attempts = (job[9] or '') .. attempt
if ARGV[4] == 'sent' then
  release(job[10], KEYS[4], KEYS[5])
  job[7] = job[7] or whole(KEYS[1])
  keep(KEYS[1], job, now, ARGV[3], attempts)
else
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'recipients', ARGV[3], 'updated', now,
    'attempts', attempts)
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
event(ARGV[1], ARGV[4], job[12] or 0)
return 1
