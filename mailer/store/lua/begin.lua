-- Begin an attempt at each of the given jobs that may be delivered now: lease it to a worker under
-- a new fencing token. Others are passed over, and a stale or repeated batch does no harm.
--
-- KEYS  1-3 agenda lanes, 4-14 state indexes in the order of JobState, 15-16 the suppression
--       lists, for all emails and by tag, then the jobs' records
-- ARGV  1 lease ms, 2 worker, then the jobs' ids in the order of their records
-- Returns  {now, then for each begun job: {id, token, tries, date, since, expires, lane,
--          head, message, recipients}}
--
-- A job found in `sending` whose lease is over was held by a worker that died: it is taken over,
-- and the lost attempt is put on record, for nobody knows what it sent. Where it has expired since,
-- or was to be sent at most once and its message may have been completed (commit.lua), it ends as
-- `unconfirmed` instead. An id without a record leaves the agenda.
--
-- Open recipients who are on a suppression list are left out; a job that has no other ones ends.

-- include suppression
-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('ZREM', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local MOST_HISTORY = 65536  -- bytes of attempts; beyond it the oldest go
local index = { scheduled = 4, queued = 5, sending = 6, deferred = 7, partially_sent = 9,
  failed = 10, unconfirmed = 11, expired = 12, suppressed = 14 }
local lease = now + tonumber(ARGV[1])
local begun, suppress = { now }, suppression(KEYS[15], KEYS[16])

local function finish(record, id, lane, from, to)
  redis.call('HSET', record, 'state', to, 'updated', now)
  redis.call('HDEL', record, 'lease', 'worker', 'started', 'committed')
  redis.call('ZREM', KEYS[lane], id)
  redis.call('ZREM', KEYS[index[from]], id)
  redis.call('ZADD', KEYS[index[to]], now, id)
end

local function record_interruption(record, job)
  local attempt = cjson.encode({ n = tonumber(job[6] or 0) + 1, started_at = tonumber(job[13]) / 1000,
    ended_at = now / 1000, worker = job[12], decision = 'interrupted',
    phase = job[14] and 'dot' or nil })
  local attempts = (redis.call('HGET', record, 'attempts') or '') .. attempt .. '\n'
  while #attempts > MOST_HISTORY do attempts = string.gsub(attempts, '^[^\n]*\n', '', 1) end
  redis.call('HSET', record, 'attempts', attempts)
end

-- What becomes of a job of which nobody is left to send to. Only one that was not sent by a worker
-- that died is known not to have reached those left out now.
local function end_without(people, lost)
  if lost then return 'unconfirmed' end
  local accepted, others = false, false
  for _, person in ipairs(people) do
    accepted = accepted or person.state == 'accepted'
    others = others or person.state ~= 'suppressed'
  end
  return accepted and 'partially_sent' or others and 'failed' or 'suppressed'
end

-- Nobody knows whether those who were open got it.
local function doubt(record, recipients)
  local readable, people = pcall(cjson.decode, recipients)
  if not readable then return end
  for _, person in ipairs(people) do
    local state = person.state or 'pending'
    if state == 'pending' or state == 'deferred' then
      person.state, person.not_before = 'unconfirmed', nil
      person.reply = 'the worker was lost while it sent; perhaps it was delivered'
    end
  end
  redis.call('HSET', record, 'recipients', cjson.encode(people))
end

for i = 17, #KEYS do
  local record, id = KEYS[i], ARGV[i - 14]
  local job = redis.call('HMGET', record, 'state', 'due', 'lease', 'lane', 'expires', 'tries',
    'date', 'since', 'head', 'message', 'recipients', 'worker', 'started', 'committed')
  local state, due, expires = job[1], tonumber(job[2] or 0), tonumber(job[5] or 0)
  local lane, expired = tonumber(job[4] or 0), expires > 0 and expires <= now
  local lost = state == 'sending' and tonumber(job[3]) <= now
  local waiting = (state == 'scheduled' or state == 'queued' or state == 'deferred') and due <= now
  if lost then record_interruption(record, job) end
  local in_doubt = lost and (expired or job[14])
  local recipients, left, people
  if (waiting or lost) and not expired and not in_doubt then recipients, left, people = suppress(job[9], job[11]) end
  if recipients then redis.call('HSET', record, 'recipients', recipients) end
  if not state then
    for l = 1, 3 do redis.call('ZREM', KEYS[l], id) end
  elseif waiting and expired then
    finish(record, id, lane, state, 'expired')
  elseif in_doubt then
    redis.call('HINCRBY', record, 'token', 1)
    doubt(record, job[11])
    finish(record, id, lane, state, 'unconfirmed')
  elseif left == 0 then
    redis.call('HINCRBY', record, 'token', 1)
    finish(record, id, lane, state, end_without(people, lost))
  elseif waiting or lost then
    local token = redis.call('HINCRBY', record, 'token', 1)
    redis.call('HSET', record, 'state', 'sending', 'updated', now, 'started', now,
      'lease', lease, 'worker', ARGV[2])
    redis.call('ZADD', KEYS[lane], lease, id)
    if not lost then
      redis.call('ZREM', KEYS[index[state]], id)
      redis.call('ZADD', KEYS[index.sending], now, id)
    end
    begun[#begun + 1] = { id, token, tonumber(job[6] or 0), tonumber(job[7]), tonumber(job[8]),
      expires, lane, job[9], job[10], recipients or job[11] }
  end
end
return begun
