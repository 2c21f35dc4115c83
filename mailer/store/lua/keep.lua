-- Included by the scripts by which a job ends as `sent`.
--
-- keep(record, job, now, recipients, attempts): keep of a job that was sent what `Job` shows, and
-- what finish and retire ask for; its message goes, and all that nobody reads any more. `job` begins
-- with the values of token, latest, superseded, created, lane, expires and head.
--
-- Nothing leads out of `sent`, so most of that is only ever read together: it is cut into pieces,
-- and needs what `pieces` has.

local function keep(record, job, now, recipients, attempts)
  local MUCH = 2048  -- bytes, beyond which a block is slow to go through, and saves little
  local kept = job[4] .. '\n' .. now - job[4] .. '\n' .. job[5] .. '\n' .. (job[6] or 0)
    .. '\n' .. job[7] .. '\n' .. recipients .. '\n' .. attempts
  local fields = { 'state', 'sent', 'token', job[1] }
  cut(kept, #kept > MUCH and #kept or SHORT, fields)
  for name, value in pairs({ latest = job[2] or nil, superseded = job[3] or nil }) do
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  redis.call('DEL', record)
  redis.call('HSET', record, unpack(fields))
end
