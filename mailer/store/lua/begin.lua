-- Begin an attempt at each of the given jobs that may be delivered now: lease it to a worker under
-- a new fencing token. Others are passed over, and a stale or repeated batch does no harm.
--
-- KEYS  1-3 agenda lanes, 4-14 state indexes in the order of JobState, then the jobs' records
-- ARGV  1 lease ms, 2 worker, then the jobs' ids in the order of their records
-- Returns  {now, then for each begun job: {id, token, tries, date, since, expires, lane,
--          head, message, recipients}}
--
-- A job found in `sending` whose lease is over was held by a worker that died: it is taken over,
-- and the lost attempt is put on record, for nobody knows what it sent.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index = { scheduled = 4, queued = 5, sending = 6, deferred = 7, expired = 12 }
local lease = now + tonumber(ARGV[1])
local begun = { now }

for i = 15, #KEYS do
  local record, id = KEYS[i], ARGV[i - 12]
  local job = redis.call('HMGET', record, 'state', 'due', 'lease', 'lane', 'expires', 'tries',
    'date', 'since', 'head', 'message', 'recipients', 'worker', 'started')
  local state, due, expires = job[1], tonumber(job[2] or 0), tonumber(job[5] or 0)
  local lost = state == 'sending' and tonumber(job[3]) <= now
  local waiting = (state == 'scheduled' or state == 'queued' or state == 'deferred') and due <= now
  if waiting and expires > 0 and expires <= now then
    redis.call('HSET', record, 'state', 'expired', 'updated', now)
    redis.call('ZREM', KEYS[tonumber(job[4])], id)
    redis.call('ZREM', KEYS[index[state]], id)
    redis.call('ZADD', KEYS[index.expired], now, id)
  elseif waiting or lost then
    local tries = tonumber(job[6] or 0)
    if lost then
      local attempt = cjson.encode({ n = tries + 1, started_at = tonumber(job[13]) / 1000,
        ended_at = now / 1000, worker = job[12], decision = 'interrupted' })
      redis.call('HSET', record, 'attempts', (redis.call('HGET', record, 'attempts') or '')
        .. attempt .. '\n')
    end
    local token = redis.call('HINCRBY', record, 'token', 1)
    redis.call('HSET', record, 'state', 'sending', 'updated', now, 'started', now,
      'lease', lease, 'worker', ARGV[2])
    redis.call('ZADD', KEYS[tonumber(job[4])], lease, id)
    if not lost then
      redis.call('ZREM', KEYS[index[state]], id)
      redis.call('ZADD', KEYS[index.sending], now, id)
    end
    begun[#begun + 1] = { id, token, tries, tonumber(job[7]), tonumber(job[8]), expires,
      tonumber(job[4]), job[9], job[10], job[11] }
  end
end
return begun
