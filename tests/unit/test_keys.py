"""The names of keys: those that Lua writes out itself are those that Python uses."""

import re

from mailer.job import JobState
from mailer.store.keys import LANES, Keys
from mailer.store.operation import script


def test_the_names_that_enqueue_writes_out_are_those_of_the_keys():
    keys, source = Keys("p"), script("enqueue").source
    used = {f"{{p}}:{name}" for name in re.findall(r"key\('([a-z:-]+)'\)", source)}
    ours = {keys.job_prefix, keys.blob_prefix, keys.blob_uses, keys.memory}
    ours |= {keys.suppressed, keys.suppressed_tags, keys.state(JobState.CANCELED)}
    assert used == ours
    lanes = "', '".join(LANES)
    assert f"local LANES = {{ '{lanes}' }}" in source
    assert keys.lanes == tuple(f"{{p}}:agenda:{lane}" for lane in LANES)
    assert "key('agenda:' .. " in source
    assert "key('state:' .. state)" in source
    assert keys.states == tuple(f"{{p}}:state:{state}" for state in JobState)
    assert "key(job.lane == '1' and 'wake:urgent' or 'wake')" in source
    assert (keys.wake, keys.urgent_wake) == ("{p}:wake", "{p}:wake:urgent")


def test_the_names_of_the_stream_of_events_are_those_of_the_keys():
    keys, source = Keys("p"), script("enqueue").source
    assert "'^{.-}') .. ':events'" in source
    assert "EVENTS .. ':on'" in source
    assert (keys.events, keys.events_on) == ("{p}:events", "{p}:events:on")
