-- Included by the scripts by which a job ends as `sent`.
--
-- keep(record, job, now, recipients, attempts): keep of a job that was sent what `Job` shows, and
-- what finish and retire ask for; its message goes, and all that nobody reads any more. `job` begins
-- with the values of token, latest, superseded, created, lane, expires and head.
--
-- Nothing leads out of `sent`, so most of that is only ever read together: it stands a line each,
-- cut into pieces named 0, 1, 2... For a hash of few fields, each of them short, is one block of
-- memory to Redis (hash-max-listpack-value); a single long one makes it take twice as much.

local function keep(record, job, now, recipients, attempts)
  local SHORT = 64  -- bytes
  local MUCH = 2048  -- bytes, beyond which a block is slow to go through, and saves little
  local kept = job[4] .. '\n' .. now - job[4] .. '\n' .. job[5] .. '\n' .. (job[6] or 0)
    .. '\n' .. job[7] .. '\n' .. recipients .. '\n' .. attempts
  local fields, n = { 'state', 'sent', 'token', job[1] }, 4
  local size = #kept > MUCH and #kept or SHORT
  for at = 1, #kept, size do
    fields[n + 1], fields[n + 2] = (at - 1) / size, string.sub(kept, at, at + size - 1)
    n = n + 2
  end
  if job[2] then fields[n + 1], fields[n + 2], n = 'latest', job[2], n + 2 end
  if job[3] then fields[n + 1], fields[n + 2] = 'superseded', job[3] end
  redis.call('DEL', record)
  redis.call('HSET', record, unpack(fields))
end
