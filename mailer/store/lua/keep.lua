-- Included by the scripts by which a job ends as `sent`.
--
-- keep(record, now, recipients, attempts): of a job that was sent, keep what `Job` shows, and what
-- finish, retire and supersede keys need; its message goes, and all that no one reads any more.
--
-- Nothing leads out of `sent`, so these values are only ever read together: they stand a line each,
-- cut into pieces named 0, 1, 2... For Redis keeps a hash of few short fields in one block of
-- memory; with one longer field it would take twice as much for them all (hash-max-listpack-value).

local function keep(record, now, recipients, attempts)
  local SHORT = 64  -- bytes
  local MUCH = 2048  -- bytes; a block of more is slow to go through, and there is little to gain
  local job = redis.call('HMGET', record, 'token', 'latest', 'superseded', 'created', 'lane',
    'expires', 'head')
  local kept = table.concat(
    { job[4], now, job[5], job[6] or 0, job[7], recipients, attempts }, '\n')
  local fields, size = { 'state', 'sent', 'token', job[1] }, #kept > MUCH and #kept or SHORT
  for at = 1, #kept, size do
    fields[#fields + 1] = (at - 1) / size
    fields[#fields + 1] = string.sub(kept, at, at + size - 1)
  end
  for i, name in ipairs({ 'latest', 'superseded' }) do
    if job[i + 1] then
      fields[#fields + 1] = name
      fields[#fields + 1] = job[i + 1]
    end
  end
  redis.call('DEL', record)
  redis.call('HSET', record, unpack(fields))
end
