-- Count the jobs of a part of a batch by their states.
--
-- KEYS  1 what the records' keys begin with
-- ARGV  1 the number of states, 2... the states, then what the ids begin with, then the first and the
--       last row
-- Returns  how many are in each state, in their order; rows of which no job is recorded are left out

local states, counts = {}, {}
local n = tonumber(ARGV[1])
for i = 1, n do states[ARGV[1 + i]], counts[i] = i, 0 end
local record = KEYS[1] .. ARGV[n + 2]
for row = tonumber(ARGV[n + 3]), tonumber(ARGV[n + 4]) do
  local state = redis.call('HGET', record .. string.format('%08x', row), 'state')
  if state then counts[states[state]] = counts[states[state]] + 1 end
end
return counts
