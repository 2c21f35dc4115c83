-- Begin an attempt at each of the given jobs that may be delivered now: lease it to a worker under
-- a new fencing token. Others are passed over, and a stale or repeated batch does no harm.
--
-- KEYS  1-3 agenda lanes, 4-14 state indexes in the order of JobState, 15-16 the suppression
--       lists, for all emails and by tag, then the jobs' records
-- ARGV  1 lease ms, 2 worker, then the jobs' ids in the order of their records
-- Returns  {now, then for each begun job: {id, token, tries, date, since, expires, lane,
--          head, message, recipients, crashes}}
--
-- A job found in `sending` whose lease is over was held by a worker that died: it is taken over,
-- and the lost attempt is put on record, for nobody knows what it sent. Where it has expired since,
-- or a newer email has taken its place, it ends as `unconfirmed` instead. Where the worker had committed itself to complete a message
-- (see commit), its recipients are `unconfirmed`, and the job goes on with the others, if there are
-- any. An id without a record leaves the agenda.
--
-- Open recipients who are on a suppression list are left out; a job that has no other ones ends.

-- include pieces
-- include suppression
-- include event
-- Where memory is full, Redis refuses no write of a script that has written before; GETEX counts.
local event = events(redis.call('GETEX', EVENTS_ON))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local MOST_HISTORY = 65536  -- bytes of attempts; beyond it the oldest go
local index = { scheduled = 4, queued = 5, sending = 6, deferred = 7, partially_sent = 9,
  failed = 10, unconfirmed = 11, expired = 12, suppressed = 14 }
local LOST = 'the worker was lost while it sent; perhaps it was delivered'
local lease = now + tonumber(ARGV[1])
local begun, suppress = { now }, suppression(KEYS[15], KEYS[16])

local function finish(record, id, lane, from, to, tries)
  redis.call('HSET', record, 'state', to, 'updated', now)
  redis.call('HDEL', record, 'lease', 'worker', 'committed')
  redis.call('ZREM', KEYS[lane], id)
  redis.call('ZREM', KEYS[index[from]], id)
  redis.call('ZADD', KEYS[index[to]], now, id)
  event(id, to, tries)
end

-- Returns to what the worker that was lost had committed itself, or nothing.
local function record_interruption(record, tries)
  local job = redis.call('HMGET', record, 'attempts', 'updated', 'worker', 'committed')
  local committed = job[4] and cjson.decode(job[4])
  -- the values of an Attempt, in their order
  local attempt = string.format('[%d,%.3f,"interrupted",%.3f,%s', tries + 1, job[2] / 1000,
    (now - job[2]) / 1000, cjson.encode(job[3]))
  if committed then
    attempt = attempt .. string.format(',%s,"dot",null,null,"%s"',
      cjson.encode(committed.relay), LOST)
  end
  local attempts = (job[1] or '') .. attempt .. ']\n'
  while #attempts > MOST_HISTORY do attempts = string.gsub(attempts, '^[^\n]*\n', '', 1) end
  redis.call('HSET', record, 'attempts', attempts)
  return committed
end

-- What becomes of a job of which nobody is left to send to.
local function end_without(people)
  local accepted, others = false, false
  for _, person in ipairs(people) do
    if person[STATE] == 'unconfirmed' then return 'unconfirmed' end
    accepted = accepted or person[STATE] == 'accepted'
    others = others or person[STATE] ~= 'suppressed'
  end
  return accepted and 'partially_sent' or others and 'failed' or 'suppressed'
end

-- Nobody knows whether open recipients got it: those of the message that a worker was about to
-- complete, or all where it did not say. Returns what suppression returns.
local function doubt(recipients, committed)
  local readable, people = pcall(cjson.decode, recipients)
  if not readable then return recipients, 0, { { [STATE] = 'unconfirmed' } } end
  local sent_to, left = {}, 0
  for _, address in ipairs(committed and committed.recipients or {}) do sent_to[address] = true end
  for _, person in ipairs(people) do
    local state = person[STATE] or 'pending'
    if state == 'pending' or state == 'deferred' then
      if not committed or sent_to[person[ADDRESS]] then
        person[STATE], person[REPLY], person[NOT_BEFORE] = 'unconfirmed', LOST, nil
      else
        left = left + 1
      end
    end
  end
  return cjson.encode(people), left, people
end

for i = 17, #KEYS do
  local record, id = KEYS[i], ARGV[i - 14]
  local job = redis.call('HMGET', record, 'state', 'due', 'lease', 'lane', 'expires', 'tries',
    'date', 'since', 'head', 'message', 'recipients', 'superseded', 'crashes', 'token')
  local state, due, expires = job[1], tonumber(job[2] or 0), tonumber(job[5] or 0)
  local lane, over = tonumber(job[4] or 0), job[12] or (expires > 0 and expires <= now)
  local lost = state == 'sending' and tonumber(job[3]) <= now
  local waiting = (state == 'scheduled' or state == 'queued' or state == 'deferred') and due <= now
  local tries, crashes, committed = tonumber(job[6] or 0), tonumber(job[13] or 0), nil
  if (waiting or lost) and not job[9] then
    job[9], job[10], job[11] = whole(record, job[9], job[10], job[11])
  end
  if lost then
    committed = record_interruption(record, tries)
    crashes = redis.call('HINCRBY', record, 'crashes', 1)
  end
  local recipients, left, people = job[11], nil, nil
  if lost and (over or committed) then
    recipients, left, people = doubt(recipients, committed)
  end
  if (waiting or lost) and not over and left ~= 0 then
    local after, open, all = suppress(job[9], recipients)
    if after then recipients, left, people = after, open, all end
    if lost and not committed and left == 0 then recipients, left, people = doubt(job[11]) end
  end
  if recipients ~= job[11] then redis.call('HSET', record, 'recipients', recipients) end
  if not state then
    for l = 1, 3 do redis.call('ZREM', KEYS[l], id) end
  elseif waiting and over then
    finish(record, id, lane, state, 'expired', tries)
  elseif lost and over then
    redis.call('HINCRBY', record, 'token', 1)
    finish(record, id, lane, state, 'unconfirmed', tries)
  elseif left == 0 then
    redis.call('HINCRBY', record, 'token', 1)
    finish(record, id, lane, state, end_without(people), tries)
  elseif waiting or lost then
    local token = tonumber(job[14] or 0) + 1
    redis.call('HSET', record, 'state', 'sending', 'token', token, 'updated', now,
      'lease', lease, 'worker', ARGV[2])
    if committed then redis.call('HDEL', record, 'committed') end
    redis.call('ZADD', KEYS[lane], lease, id)
    if not lost then
      redis.call('ZREM', KEYS[index[state]], id)
      redis.call('ZADD', KEYS[index.sending], now, id)
      event(id, 'sending', tries)
    end
    begun[#begun + 1] = { id, token, tries, tonumber(job[7]), tonumber(job[8]),
      expires, lane, job[9], job[10], recipients, crashes }
  end
end
return begun
