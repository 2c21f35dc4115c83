-- Read records without their messages, which may be large.
--
-- KEYS  the records
-- Returns  for each its fields and values in turn; nothing of one that was retired

local NAMES = { 'state', 'lane', 'created', 'updated', 'due', 'expires', 'head', 'recipients',
  'attempts', 'held', 'superseded' }
local records = {}
for at, key in ipairs(KEYS) do
  local values = redis.call('HMGET', key, unpack(NAMES))
  if not values[7] then  -- there is none, or it is short and in pieces: see pieces.lua and keep.lua
    records[at] = redis.call('HGETALL', key)
  else
    local record = {}
    for i, name in ipairs(NAMES) do
      if values[i] then
        record[#record + 1] = name
        record[#record + 1] = values[i]
      end
    end
    records[at] = record
  end
end
return records
