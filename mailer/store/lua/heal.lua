-- Note that a relay works again: it is open to all workers, and a dispatcher is woken.
--
-- KEYS  1 relays, 2 wake
-- ARGV  1 relay
-- Returns  1 where that is news

local news = redis.call('HDEL', KEYS[1], ARGV[1])
if news == 1 and redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 1) end
return news
