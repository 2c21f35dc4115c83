-- Record jobs, put them on the agenda and wake a dispatcher: all of them, or none.
--
-- KEYS  1 wake, 2 wake:urgent, 3 what the blobs' keys begin with, 4 blob-uses, 5-7 agenda lanes, 8 state:queued,
--       9 state:scheduled, 10 state:suppressed, 11 state:deferred, 12 state:canceled,
--       13-14 the suppression lists, for all emails and by tag, 15 what the records' keys begin with,
--       16 memory, which holds the share of which Redis is known to use less, 17 the batch, or memory
--       again; then for each job: its record, the key of its idempotency key (or its record again),
--       the key of its supersede key (or its record again)
-- ARGV  1 number of jobs, 2 seconds for which idempotency keys are kept, 3 the most jobs on the
--       agenda (0: any number), 4 the largest share of its memory that Redis may use (0: any),
--       5 which chunk of its batch this is ('': of none), 6 how many rows the batch has with it,
--       7 the digest of the chunk's rows; then for each job: id, lane (1-3), scheduled ms (0: now), expires ms (0: never),
--       head, message, recipients, message id, fingerprint ('': no idempotency key),
--       number of blobs, and for each blob: sha256, content ('': it should be there already)
-- Returns  {'ok', now, then for each job: 1, or 'id message-id' of the earlier job}
--          {'conflict', position} where an idempotency key is known for other content
--          {'expired', position} where expires is past
--          {'full', what there is of it: jobs or bytes, how much is allowed, 'jobs' or 'bytes'}
--          {'missing', sha256...} where blobs are to be uploaded first
--          {'no batch'}, {'canceled'}: of the batch; {'other rows'} where the chunk is known, with others
--          {'known', now} where this chunk was recorded before
--          In all but the first of these nothing was stored.
-- A job whose record exists already is left as it is: a producer that lost the reply may repeat.
-- One whose recipients are all on a suppression list is recorded as `suppressed`, off the agenda.
-- One with a supersede key takes the place of the last one before it: that is canceled if it waits,
-- and not tried again if it is being sent.

-- include pieces
-- include suppression
-- include event
local ROOM_MS = 100  -- for so long Redis is not asked again what it uses: that costs half an enqueue
local MUCH = 65536  -- bytes in one call, from which on it is asked all the same
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local jobs, at, bytes = {}, 8, 0
for i = 1, tonumber(ARGV[1]) do
  local job = {
    record = KEYS[15 + 3 * i], once = KEYS[16 + 3 * i], latest = KEYS[17 + 3 * i],
    id = ARGV[at], lane = KEYS[4 + tonumber(ARGV[at + 1])], priority = ARGV[at + 1],
    scheduled = tonumber(ARGV[at + 2]), expires = tonumber(ARGV[at + 3]),
    head = ARGV[at + 4], message = ARGV[at + 5], recipients = ARGV[at + 6],
    message_id = ARGV[at + 7], fingerprint = ARGV[at + 8], blobs = {},
  }
  local blobs = tonumber(ARGV[at + 9])
  at, bytes = at + 10, bytes + #job.head + #job.message + #job.recipients
  for b = 1, blobs do
    job.blobs[b] = { sha = ARGV[at], content = ARGV[at + 1] }
    bytes = bytes + (ARGV[at + 1] == '' and MUCH or #ARGV[at + 1])
    at = at + 2
  end
  jobs[i] = job
end

-- First look at all, then write: a refusal must leave nothing behind.
if ARGV[5] ~= '' then
  local batch = redis.call('HMGET', KEYS[17], 'name', 'canceled', ARGV[5])
  if not batch[1] then return { 'no batch' } end
  if batch[2] then return { 'canceled' } end
  if batch[3] then return batch[3] == ARGV[7] and { 'known', now } or { 'other rows' } end
end
local known = {}
for i, job in ipairs(jobs) do
  if job.expires > 0 and job.expires <= now then return { 'expired', i } end
  if job.fingerprint ~= '' then
    local earlier = known[job.once] or redis.call('GET', job.once)
    local mine = job.id .. ' ' .. job.message_id .. ' ' .. job.fingerprint
    if not earlier then
      known[job.once] = mine
    else
      if string.match(earlier, '%S+$') ~= job.fingerprint then return { 'conflict', i } end
      known[job.once] = earlier
      if earlier ~= mine then job.earlier = string.match(earlier, '^(%S+ %S+)') end
    end
  end
end

local fresh = 0
for _, job in ipairs(jobs) do
  job.stored = not job.earlier and redis.call('EXISTS', job.record) == 1
  if not job.earlier and not job.stored then fresh = fresh + 1 end
end
local most, share = tonumber(ARGV[3]), tonumber(ARGV[4])
if fresh > 0 and most > 0 then
  local waiting = 0
  for lane = 5, 7 do waiting = waiting + redis.call('ZCARD', KEYS[lane]) end
  if waiting + fresh > most then return { 'full', waiting, most, 'jobs' } end
end
local room, recorded = unpack(redis.call('MGET', KEYS[16], EVENTS_ON))
local event = events(recorded)
if fresh > 0 and share > 0 and (bytes >= MUCH or room ~= ARGV[4]) then
  local memory = redis.call('INFO', 'memory')
  local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
  local all = tonumber(string.match(memory, 'maxmemory:(%d+)') or 0)
  if all == 0 then all = tonumber(string.match(memory, 'total_system_memory:(%d+)') or 0) end
  if all > 0 and used > all * share then
    redis.call('DEL', KEYS[16])
    return { 'full', used, math.floor(all * share), 'bytes' }
  end
  redis.call('SET', KEYS[16], ARGV[4], 'PX', ROOM_MS)
end

local missing, given = { 'missing' }, {}
for _, job in ipairs(jobs) do
  if not job.earlier then
    for _, blob in ipairs(job.blobs) do
      if not given[blob.sha] then
        given[blob.sha] = true
        if blob.content == '' and redis.call('EXISTS', KEYS[3] .. blob.sha) == 0 then
          missing[#missing + 1] = blob.sha
        end
      end
    end
  end
end
if #missing > 1 then return missing end

local waiting_index = { queued = 8, scheduled = 9, deferred = 11 }
local function supersede(id, by)
  local record = KEYS[15] .. id
  local job = redis.call('HMGET', record, 'state', 'lane', 'tries')
  local index = waiting_index[job[1]]
  if index then
    redis.call('HSET', record, 'state', 'canceled', 'updated', now, 'superseded', by)
    redis.call('ZREM', KEYS[4 + tonumber(job[2])], id)
    redis.call('ZREM', KEYS[index], id)
    redis.call('ZADD', KEYS[12], now, id)
    event(id, 'canceled', job[3] or 0)
  elseif job[1] == 'sending' then
    redis.call('HSET', record, 'superseded', by)
  end
end

local reply, wakes, suppress = { 'ok', now }, {}, suppression(KEYS[13], KEYS[14])
for i, job in ipairs(jobs) do
  if job.earlier then
    reply[i + 2] = job.earlier
  elseif job.stored then
    reply[i + 2] = 1
  else
    local due, state, index = now, 'queued', KEYS[8]
    if job.scheduled > now then due, state, index = job.scheduled, 'scheduled', KEYS[9] end
    local people, left = suppress(job.head, job.recipients)
    if left == 0 then state, index = 'suppressed', KEYS[10] end
    local shas = {}
    for b, blob in ipairs(job.blobs) do
      if blob.content ~= '' then redis.call('SET', KEYS[3] .. blob.sha, blob.content, 'NX') end
      redis.call('PERSIST', KEYS[3] .. blob.sha)
      redis.call('HINCRBY', KEYS[4], blob.sha, 1)
      shas[b] = blob.sha
    end
    redis.call('HSET', job.record, 'state', state, 'lane', job.priority, 'created', now,
      'due', due, 'since', due, 'date', math.floor(due / 1000),
      unpack(texts(job.head, job.message, people or job.recipients)))
    if job.expires > 0 then redis.call('HSET', job.record, 'expires', job.expires) end
    if #shas > 0 then redis.call('HSET', job.record, 'blobs', table.concat(shas, ' ')) end
    if job.latest ~= job.record then
      local last = redis.call('GET', job.latest)
      if last then supersede(last, job.id) end
      redis.call('SET', job.latest, job.id)
      redis.call('HSET', job.record, 'latest', string.sub(job.latest, -64))  -- the SHA-256
    end
    redis.call('ZADD', index, now, job.id)
    event(job.id, state, 0)
    if left ~= 0 then redis.call('ZADD', job.lane, due, job.id) end
    if job.fingerprint ~= '' then
      redis.call('SET', job.once, known[job.once], 'EX', ARGV[2])
    end
    if left ~= 0 and due < now + 1000 then wakes[job.priority == '1' and KEYS[2] or KEYS[1]] = true end
    reply[i + 2] = 1
  end
end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[17], ARGV[5], ARGV[7])
  redis.call('HINCRBY', KEYS[17], 'jobs', fresh)
  if tonumber(ARGV[6]) > tonumber(redis.call('HGET', KEYS[17], 'rows')) then
    redis.call('HSET', KEYS[17], 'rows', ARGV[6])
  end
  redis.call('PERSIST', KEYS[17])
end
for wake in pairs(wakes) do
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, 1) end
end
return reply
