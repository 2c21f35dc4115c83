-- Included by the scripts that end what blobs are kept for.
--
-- release(shas, prefix, uses): one job needs these blobs, divided by spaces, no more. Those that no
-- other job needs go.

local function release(shas, prefix, uses)
  for sha in string.gmatch(shas or '', '%S+') do
    if redis.call('HINCRBY', uses, sha, -1) <= 0 then
      redis.call('DEL', prefix .. sha)
      redis.call('HDEL', uses, sha)
    end
  end
end
