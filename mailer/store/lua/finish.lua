-- Record what became of attempts. Only the holder of the current token can: a stale one, of a
-- worker that lost its lease, changes nothing.
--
-- KEYS  1 wake, 2-4 agenda lanes, 5-15 state indexes in the order of JobState, 16 what the
--       blobs' keys begin with, 17 blob-uses, then the jobs' records
-- ARGV  for each job: id, token, new state, due ms (0: it has ended; 1: now), tries, recipients,
--       attempt ('': none to record), why it waits where no attempt says so ('': one does),
--       crashes in a row
-- Returns  for each job 1, or 0 where the token is stale; 1 too where this very result was recorded
--          before, and only the reply got lost; 2 where a newer email has taken its place meanwhile,
--          so that it is canceled instead of tried again
--
-- What was sent needs its body no more: message and blobs go, the record of what happened stays.

-- include pieces
-- include keep
-- include release
-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local MOST_HISTORY = 65536  -- bytes of attempts; beyond it the oldest go
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index = { queued = 6, deferred = 8, sent = 9, partially_sent = 10, failed = 11,
  unconfirmed = 12, expired = 13, canceled = 14, suppressed = 15 }
local reply, wake = {}, false
for i = 18, #KEYS do
  local at = (i - 18) * 9
  local record, id, state = KEYS[i], ARGV[at + 1], ARGV[at + 3]
  local job = redis.call('HMGET', record, 'token', 'latest', 'superseded', 'created', 'lane',
    'expires', 'head', 'state', 'attempts', 'blobs')
  if job[1] ~= ARGV[at + 2] then
    reply[#reply + 1] = 0
  elseif job[8] ~= 'sending' then
    reply[#reply + 1] = 1
  else
    local due, done, lane = tonumber(ARGV[at + 4]), 1, KEYS[1 + tonumber(job[5])]
    if due > 0 and job[3] then due, state, done = 0, 'canceled', 2 end
    local attempts = job[9] or ''
    if ARGV[at + 7] ~= '' then attempts = attempts .. ARGV[at + 7] .. '\n' end
    while #attempts > MOST_HISTORY do attempts = string.gsub(attempts, '^[^\n]*\n', '', 1) end
    if state == 'sent' then
      release(job[10], KEYS[16], KEYS[17])
      job[7] = job[7] or whole(record)
      keep(record, job, now, ARGV[at + 6], attempts)
    else
      redis.call('HSET', record, 'state', state, 'updated', now, 'tries', ARGV[at + 5],
        'recipients', ARGV[at + 6], 'attempts', attempts)
      redis.call('HDEL', record, 'lease', 'worker', 'committed', 'held')
      if ARGV[at + 8] ~= '' then redis.call('HSET', record, 'held', ARGV[at + 8]) end
      if ARGV[at + 9] == '0' then redis.call('HDEL', record, 'crashes')
      else redis.call('HSET', record, 'crashes', ARGV[at + 9]) end
    end
    redis.call('ZREM', KEYS[7], id)
    redis.call('ZADD', KEYS[index[state]], now, id)
    event(id, state, ARGV[at + 5])
    if due > 0 then
      if due == 1 then due = now end
      redis.call('HSET', record, 'due', due)
      redis.call('ZADD', lane, due, id)
      if due < now + 1000 then wake = true end
    else
      redis.call('ZREM', lane, id)
    end
    reply[#reply + 1] = done
  end
end
if wake and redis.call('LLEN', KEYS[1]) == 0 then redis.call('RPUSH', KEYS[1], 1) end
return reply
