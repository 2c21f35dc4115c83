-- Included by the scripts that must leave out who is on the suppression list.
--
-- suppression(everywhere, by_tag) takes the keys of the two lists, and returns a function of a
-- job's head and recipients, both JSON. That one returns nothing where none of the open recipients
-- is on a list; else the recipients as they are now, in JSON, how many are open still, and the
-- recipients as a table. Where both lists are empty it costs nothing.

local ADDRESS, STATE, REPLY, NOT_BEFORE = 1, 2, 3, 4  -- the places of a recipient's values
local TAGS = 5  -- the place of a head's tags

local function suppression(everywhere, by_tag)
  local MOST_AT_ONCE = 1000  -- Lua's stack takes no more than 8,000 results of unpack
  local lists = {}
  if redis.call('EXISTS', everywhere, by_tag) > 0 then
    lists.everywhere = redis.call('EXISTS', everywhere) == 1
    lists.by_tag = redis.call('EXISTS', by_tag) == 1
  end

  local function open_ones(recipients)
    local people, open = cjson.decode(recipients), {}
    for _, person in ipairs(people) do
      local state = person[STATE] or 'pending'
      if state == 'pending' or state == 'deferred' then
        open[#open + 1] = { person = person, address = string.lower(person[ADDRESS]) }
      end
    end
    return people, open
  end

  local function tags_of(head)
    local tags = {}
    for _, tag in ipairs(cjson.decode(head)[TAGS] or {}) do tags[#tags + 1] = tag .. '\n' end
    return tags
  end

  local function look_up(key, prefix, open)
    for first = 1, #open, MOST_AT_ONCE do
      local fields = {}
      for i = first, math.min(first + MOST_AT_ONCE - 1, #open) do
        fields[#fields + 1] = prefix .. open[i].address
      end
      for i, entry in ipairs(redis.call('HMGET', key, unpack(fields))) do
        local one = open[first + i - 1]
        if entry and not one.why then
          local reason = cjson.decode(entry).reason
          one.why = 'on the suppression list'
            .. (prefix == '' and '' or ' of ' .. string.sub(prefix, 1, -2))
            .. (reason == '' and '' or ': ' .. reason)
        end
      end
    end
  end

  return function(head, recipients)
    if not lists.everywhere and not lists.by_tag then return end
    -- a record that can't be read must not stop its neighbours; nobody can send it either
    local readable, people, open = pcall(open_ones, recipients)
    if not readable then return end
    if lists.everywhere then look_up(everywhere, '', open) end
    if lists.by_tag then
      local known, tags = pcall(tags_of, head)
      for _, tag in ipairs(known and tags or {}) do look_up(by_tag, tag, open) end
    end
    local left = #open
    for _, one in ipairs(open) do
      if one.why then
        one.person[STATE], one.person[REPLY], one.person[NOT_BEFORE] = 'suppressed', one.why, nil
        left = left - 1
      end
    end
    if left < #open then return cjson.encode(people), left, people end
  end
end
