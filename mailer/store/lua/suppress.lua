-- Put addresses on a suppression list. Those on it already stay as they are, with the first reason.
--
-- KEYS  1 the list
-- ARGV  1 reason, 2 who put them there, then the fields: <address>, or <tag>\n<address>
-- Returns  how many are new

-- Where memory is full, Redis refuses no write of a script that has written before.
redis.call('HDEL', KEYS[1], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = cjson.encode({ reason = ARGV[1], by = ARGV[2], since = now })
local new = 0
for i = 3, #ARGV do new = new + redis.call('HSETNX', KEYS[1], ARGV[i], entry) end
return new
