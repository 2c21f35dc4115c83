-- Included by the scripts that write small records, or read them.
--
-- A hash of few fields, each of them short, is one block of memory to Redis (hash-max-listpack-value);
-- a single long value makes it take twice as much. So what is only ever read together, and little,
-- stands a line each, cut into pieces named 0, 1, 2...: see keep, and the head, message and recipients
-- of a job that has little of them. Where a field of that name is there as well, it counts.

local SHORT = 64  -- bytes
local LITTLE = 512  -- bytes of head, message and recipients

-- Appends names and values to `fields`.
local function cut(text, size, fields)
  local n = #fields
  for at = 1, #text, size do
    fields[n + 1], fields[n + 2] = (at - 1) / size, string.sub(text, at, at + size - 1)
    n = n + 2
  end
end

-- Gives names and values for what is stored of an email.
local function texts(head, message, recipients)
  if #head + #message + #recipients > LITTLE then
    return { 'head', head, 'message', message, 'recipients', recipients }
  end
  local fields = {}
  cut(head .. '\n' .. message .. '\n' .. recipients, SHORT, fields)
  return fields
end

-- Gives head, message and recipients of a record of which some are in pieces.
local function whole(record, head, message, recipients)
  local pieces = redis.call('HMGET', record, 0, 1, 2, 3, 4, 5, 6, 7, 8)
  for i = 1, #pieces do pieces[i] = pieces[i] or '' end
  local one, two, three = string.match(table.concat(pieces), '^([^\n]*)\n([^\n]*)\n(.*)$')
  return head or one or false, message or two or false, recipients or three or false
end
