-- Record jobs, put them on the agenda and wake a dispatcher: all of them, or none.
--
-- KEYS  the records of the jobs, of which a chunk of a batch may have none, then the batch where there
--       is one; all other keys are named after their hash tag, for Redis pays for each word of a
--       call, and few of those are needed
-- ARGV  1 seconds for which idempotency keys are kept, 2 the most jobs on the agenda (0: any
--       number), 3 the largest share of its memory that Redis may use (0: any), 4 the chunk of a
--       batch that they are ('': of none), in JSON: the number of the chunk, how
--       many rows the batch has with it, the digest of the chunk's rows; then for each job:
--       lane (1-3), head, message, recipients, and what few jobs have ('': nothing), in JSON:
--       scheduled (ms), expires (ms), once (the key of its idempotency key), message_id and
--       fingerprint with that, latest (the key of its supersede key), contents (the number of its
--       blobs); and for each blob: sha256, content ('': it should be there already)
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
local ROOM_MS = 50  -- for so long Redis is not asked again what it uses: that costs half an enqueue
local MUCH = 65536  -- bytes in one call, from which on it is asked all the same
local LANES = { 'high', 'normal', 'low' }
local TAG = string.match(KEYS[1], '^{.-}')
local function key(name) return TAG .. ':' .. name end
local RECORDS, BLOBS, BLOB_USES, MEMORY = key('job:'), key('blob:'), key('blob-uses'), key('memory')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local batch, number, rows, digest
if ARGV[4] ~= '' then
  batch, number, rows, digest = KEYS[#KEYS], unpack(cjson.decode(ARGV[4]))
end
local jobs, at, bytes = {}, 5, 0
for i = 1, batch and #KEYS - 1 or #KEYS do
  local record = KEYS[i]
  local job = {
    record = record, id = string.sub(record, #RECORDS + 1), lane = ARGV[at], head = ARGV[at + 1],
    message = ARGV[at + 2], recipients = ARGV[at + 3], scheduled = 0, expires = 0, contents = 0,
    blobs = {},
  }
  if ARGV[at + 4] ~= '' then
    for name, value in pairs(cjson.decode(ARGV[at + 4])) do job[name] = value end
  end
  at, bytes = at + 5, bytes + #job.head + #job.message + #job.recipients
  for b = 1, job.contents do
    job.blobs[b] = { sha = ARGV[at], content = ARGV[at + 1] }
    bytes = bytes + (ARGV[at + 1] == '' and MUCH or #ARGV[at + 1])
    at = at + 2
  end
  jobs[i] = job
end

-- First look at all, then write: a refusal must leave nothing behind.
if batch then
  local name, canceled, known = unpack(redis.call('HMGET', batch, 'name', 'canceled', number))
  if not name then return { 'no batch' } end
  if canceled then return { 'canceled' } end
  if known then return known == digest and { 'known', now } or { 'other rows' } end
end
local known = {}
for i, job in ipairs(jobs) do
  if job.expires > 0 and job.expires <= now then return { 'expired', i } end
  if job.once then
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
local most, share = tonumber(ARGV[2]), tonumber(ARGV[3])
if fresh > 0 and most > 0 then
  local waiting = 0
  for _, lane in ipairs(LANES) do
    waiting = waiting + redis.call('ZCARD', key('agenda:' .. lane))
  end
  if waiting + fresh > most then return { 'full', waiting, most, 'jobs' } end
end
local room, recorded = unpack(redis.call('MGET', MEMORY, EVENTS_ON))
local event = events(recorded)
if fresh > 0 and share > 0 and (bytes >= MUCH or room ~= ARGV[3]) then
  local memory = redis.call('INFO', 'memory')
  local used = tonumber(string.match(memory, 'used_memory:(%d+)'))
  local all = tonumber(string.match(memory, 'maxmemory:(%d+)') or 0)
  if all == 0 then all = tonumber(string.match(memory, 'total_system_memory:(%d+)') or 0) end
  if all > 0 and used > all * share then
    redis.call('DEL', MEMORY)
    return { 'full', used, math.floor(all * share), 'bytes' }
  end
  redis.call('SET', MEMORY, ARGV[3], 'PX', ROOM_MS)
end

local missing, given = { 'missing' }, {}
for _, job in ipairs(jobs) do
  if not job.earlier then
    for _, blob in ipairs(job.blobs) do
      if not given[blob.sha] then
        given[blob.sha] = true
        if blob.content == '' and redis.call('EXISTS', BLOBS .. blob.sha) == 0 then
          missing[#missing + 1] = blob.sha
        end
      end
    end
  end
end
if #missing > 1 then return missing end

local waits = { queued = true, scheduled = true, deferred = true }
local function supersede(id, by)
  local record = RECORDS .. id
  local state, lane, tries = unpack(redis.call('HMGET', record, 'state', 'lane', 'tries'))
  if waits[state] then
    redis.call('HSET', record, 'state', 'canceled', 'updated', now, 'superseded', by)
    redis.call('ZREM', key('agenda:' .. LANES[tonumber(lane)]), id)
    redis.call('ZREM', key('state:' .. state), id)
    redis.call('ZADD', key('state:canceled'), now, id)
    event(id, 'canceled', tries or 0)
  elseif state == 'sending' then
    redis.call('HSET', record, 'superseded', by)
  end
end

local reply, wakes = { 'ok', now }, {}
local suppress = suppression(key('suppressed'), key('suppressed:tags'))
for i, job in ipairs(jobs) do
  if job.earlier then
    reply[i + 2] = job.earlier
  elseif job.stored then
    reply[i + 2] = 1
  else
    local due, state = now, 'queued'
    if job.scheduled > now then due, state = job.scheduled, 'scheduled' end
    local people, left = suppress(job.head, job.recipients)
    if left == 0 then state = 'suppressed' end
    local shas = {}
    for b, blob in ipairs(job.blobs) do
      if blob.content ~= '' then redis.call('SET', BLOBS .. blob.sha, blob.content, 'NX') end
      redis.call('PERSIST', BLOBS .. blob.sha)
      redis.call('HINCRBY', BLOB_USES, blob.sha, 1)
      shas[b] = blob.sha
    end
    redis.call('HSET', job.record, 'state', state, 'lane', job.lane, 'created', now,
      'due', due, 'since', due, 'date', math.floor(due / 1000),
      unpack(texts(job.head, job.message, people or job.recipients)))
    if job.expires > 0 then redis.call('HSET', job.record, 'expires', job.expires) end
    if #shas > 0 then redis.call('HSET', job.record, 'blobs', table.concat(shas, ' ')) end
    if job.latest then
      local last = redis.call('GET', job.latest)
      if last then supersede(last, job.id) end
      redis.call('SET', job.latest, job.id)
      redis.call('HSET', job.record, 'latest', string.sub(job.latest, -64))  -- the SHA-256
    end
    redis.call('ZADD', key('state:' .. state), now, job.id)
    event(job.id, state, 0)
    if job.once then
      redis.call('SET', job.once, known[job.once], 'EX', ARGV[1])
    end
    if left ~= 0 then
      redis.call('ZADD', key('agenda:' .. LANES[tonumber(job.lane)]), due, job.id)
      if due < now + 1000 then wakes[key(job.lane == '1' and 'wake:urgent' or 'wake')] = true end
    end
    reply[i + 2] = 1
  end
end
if batch then
  redis.call('HSET', batch, number, digest)
  redis.call('HINCRBY', batch, 'jobs', fresh)
  if rows > tonumber(redis.call('HGET', batch, 'rows')) then redis.call('HSET', batch, 'rows', rows) end
  redis.call('PERSIST', batch)
end
for wake in pairs(wakes) do
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, 1) end
end
return reply
