-- Give permits back, and learn for how long they were held.
--
-- KEYS  for each permit and each of its limits: the limit's state, its permits
-- ARGV  for each of these pairs: the permit, the µs for which it was held
-- Returns  how many permits were there still

local count = 0
for i = 1, #KEYS, 2 do
  if redis.call('ZREM', KEYS[i + 1], ARGV[i]) == 1 then
    count = count + 1
    local mean = tonumber(redis.call('HGET', KEYS[i], 'held') or ARGV[i + 1])
    if redis.call('EXISTS', KEYS[i]) == 1 then
      redis.call('HSET', KEYS[i], 'held', string.format('%.0f', mean * 0.9 + ARGV[i + 1] * 0.1))
    end
  end
end
return count
