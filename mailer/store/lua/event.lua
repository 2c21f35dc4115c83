-- Included by the scripts by which a job comes into another state.
--
-- events(on) takes what EVENTS_ON holds, and returns a function of a job's id, the state that it has
-- come into and its tries: it adds an event to the stream, where events of that state are recorded.
--
-- Both keys are named after the hash tag of KEYS[1]: with no events recorded, as by default, not a
-- byte more is sent than without this.

local EVENTS = string.match(KEYS[1], '^{.-}') .. ':events'
local EVENTS_ON = EVENTS .. ':on'

local function events(on)
  if not on then return function() end end
  local kept, recorded = string.match(on, '^%d+'), {}
  for state in string.gmatch(on, '[%a_]+') do recorded[state] = true end
  return function(id, state, tries)
    if recorded[state] then
      redis.call('XADD', EVENTS, 'MAXLEN', '~', kept, '*', 'job', id, 'state', state, 'tries', tries)
    end
  end
end
