"""The stream of events against a real server, as `Mailer` and as `AsyncMailer` read it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from datetime import UTC, datetime

import pytest
import redis

from mailer import (
    AsyncMailer,
    Event,
    EventsMissed,
    InvalidArgument,
    InvalidSetting,
    JobState,
    Mailer,
    load_settings,
)
from mailer.store.agenda import NOW
from mailer.store.events import Events

DEFERRED, SENT = JobState.DEFERRED, JobState.SENT


@pytest.fixture
def store(real_store):
    return real_store


@pytest.fixture(params=[Mailer, AsyncMailer])
async def mailer(request, redis_server, key_prefix) -> AsyncIterator[Mailer | AsyncMailer]:
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    mailer = request.param(settings=settings)
    yield mailer
    if isinstance(mailer, Mailer):
        mailer.close()
    else:
        await mailer.close()


async def read(mailer, most: int = 1000, **how) -> list[Event]:
    """Read events, without waiting for more; and leave the loop within the last of ``most``."""
    how.setdefault("follow", False)
    found: list[Event] = []
    if isinstance(mailer, Mailer):
        with closing(mailer.events(**how)) as events:
            for event in events:
                found.append(event)
                if len(found) == most:
                    break
    else:
        async with aclosing(mailer.events(**how)) as events:
            async for event in events:
                found.append(event)
                if len(found) == most:
                    break
    return found


def states(events: list[Event]) -> list[str]:
    return [event.state for event in events]


async def record(store, *states: JobState, kept: int = 10_000) -> None:
    for operation in Events(store.keys).record(states, kept, 60):
        await store.run(operation)


async def deferred(store, times: int) -> None:
    """Make that many events, of each state."""
    begun = await store.begun()
    for _ in range(times):
        result = store.result(begun, DEFERRED, NOW)
        await store.run(store.agenda.finish([result]))
        (begun,) = await store.run(store.agenda.begin([begun.lease.job_id], "w1", 60))


def a_lease_passes(store) -> None:
    """Make it so for all events that were given to the group, and not acknowledged."""
    key = store.keys.events
    if given := store.raw.xpending_range(key, "app", "-", "+", 1000):
        ids = [entry["message_id"] for entry in given]
        store.raw.xclaim(key, "app", "reader", 0, ids, idle=61_000, justid=True)


async def test_by_default_there_are_no_events_and_a_reader_is_told(store, mailer):
    await store.ended()
    assert not store.raw.exists(store.keys.events)
    with pytest.raises(InvalidSetting, match="MAILER_EVENTS: no events are recorded"):
        await read(mailer)


async def test_there_is_an_event_for_each_change_of_a_state(store, mailer):
    await record(store, *JobState)
    begun = await store.begun(subject="canary")
    await store.run(store.agenda.finish([store.result(begun, DEFERRED, NOW)]))
    (again,) = await store.run(store.agenda.begin([begun.lease.job_id], "w1", 60))
    await store.run(store.agenda.finish([store.result(again)]))
    found = await read(mailer)
    assert states(found) == ["queued", "sending", "deferred", "sending", "sent"]
    assert {event.job_id for event in found} == {begun.lease.job_id}
    assert [event.tries for event in found] == [0, 0, 1, 1, 2]
    since = datetime.now(UTC) - found[0].at
    assert 0 <= since.total_seconds() < 60
    assert [event.at for event in found] == sorted(event.at for event in found)


async def test_an_event_holds_job_state_and_tries_and_nothing_else(store):
    await record(store, *JobState)
    await store.ended(subject="canary", tags=["canary"], metadata={"canary": 1})
    for _, fields in store.raw.xrange(store.keys.events):
        assert fields.keys() == {b"job", b"state", b"tries"}


async def test_only_events_of_the_recorded_states_are_there(store, mailer):
    await record(store, SENT, JobState.FAILED)
    await store.ended()
    await store.ended(JobState.FAILED)
    assert states(await read(mailer)) == ["sent", "failed"]


async def test_what_is_recorded_holds_for_all_processes_at_once(store, mailer):
    await store.enqueued()
    await record(store, JobState.QUEUED)
    await store.enqueued()
    await record(store)
    await store.enqueued()
    assert states(store_events := await read(mailer, 1)) == ["queued"]
    assert len(store.raw.xrange(store.keys.events)) == len(store_events)
    assert 0 < store.raw.ttl(store.keys.events) <= 60, "what was recorded goes"
    await record(store, SENT)
    assert store.raw.ttl(store.keys.events) == -1


async def test_a_reader_may_ask_for_some_states(store, mailer):
    await record(store, *JobState)
    await store.ended()
    assert states(await read(mailer, states="sent")) == ["sent"]
    assert states(await read(mailer, states=["sent", JobState.QUEUED])) == ["queued", "sent"]


async def test_one_who_asks_for_a_state_that_is_not_recorded_is_told(store, mailer):
    await record(store, SENT)
    await store.ended()
    with pytest.raises(InvalidSetting, match="no events of failed are recorded"):
        await read(mailer, 1, states=["sent", "failed"])


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"after": "yesterday"}, "after"),
        ({"after": "1-0", "group": "app"}, "after"),
        ({"states": ["lost"]}, "states"),
        ({"states": []}, "states"),
        ({"group": ""}, "group"),
    ],
)
def test_what_is_malformed_is_refused_before_anything_is_read(mailer, how, field):
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        mailer.events(**how)


async def test_a_reader_goes_on_after_the_last_one_that_it_knows(store, mailer):
    await record(store, *JobState)
    await deferred(store, 120)  # more than a page
    every = await read(mailer)
    assert states(every) == ["queued", "sending"] + ["deferred", "sending"] * 120
    for at in (0, 99, 100, 240):
        assert await read(mailer, after=every[at].id) == every[at + 1 :]
    assert await read(mailer, after=every[-1].id) == []


async def test_a_reader_may_begin_now(store, mailer):
    await record(store, *JobState)
    earlier = await store.ended()
    reading = read(mailer, 1, after="now", follow=True)
    if isinstance(mailer, Mailer):
        reading = asyncio.to_thread(asyncio.run, reading)
    task = asyncio.create_task(reading)
    while not task.done():
        await store.enqueued()
        await asyncio.sleep(0.05)
    (event,) = task.result()
    assert event.job_id != earlier


async def test_old_events_go_and_a_reader_that_fell_behind_is_told(store, mailer):
    await record(store, *JobState, kept=100)
    await deferred(store, 10)
    last = (await read(mailer))[-1].id
    await deferred(store, 200)
    with pytest.raises(EventsMissed, match="MAILER_EVENTS_KEPT"):
        await read(mailer, after=last)
    assert 100 <= len(await read(mailer)) < 300
    assert store.raw.memory_usage(store.keys.events) < 20_000


class TestGroups:
    async def test_readers_of_a_group_share_the_events(self, store, mailer):
        await record(store, *JobState)
        await deferred(store, 30)
        every = await read(mailer)
        one = await read(mailer, 1, group="app")
        other = await read(mailer, 21, group="app")
        rest = await read(mailer, group="app")
        # what the first was given, and did not come to, is given again below
        assert one == every[:1]
        assert other == every[20:41]
        assert rest == every[60:]

    async def test_what_was_not_acknowledged_is_given_to_another_in_time(self, store, mailer):
        await record(store, *JobState)
        await deferred(store, 30)
        every = await read(mailer)
        assert await read(mailer, 5, group="app") == every[:5]
        a_lease_passes(store)
        again = await read(mailer, group="app")
        assert again == every[4:], "the one in whose midst the loop ended is not acknowledged"
        a_lease_passes(store)
        assert await read(mailer, group="app") == []
        assert store.raw.xpending(store.keys.events, "app")["pending"] == 0

    async def test_two_groups_get_all_events_each(self, store, mailer):
        await record(store, *JobState)
        await store.ended()
        for group in ("app", "accounts"):
            assert states(await read(mailer, group=group)) == ["queued", "sending", "sent"]

    async def test_what_is_not_asked_for_is_acknowledged(self, store, mailer):
        await record(store, *JobState)
        await deferred(store, 30)
        assert await read(mailer, group="app", states="sent") == []
        assert store.raw.xpending(store.keys.events, "app")["pending"] == 0

    async def test_one_that_fell_behind_is_told_once_and_goes_on(self, store, mailer):
        await record(store, *JobState, kept=100)
        await deferred(store, 10)
        await read(mailer, group="app")
        await deferred(store, 200)
        with pytest.raises(EventsMissed):
            await read(mailer, group="app")
        assert await read(mailer, group="app") == await read(mailer)

    async def test_one_is_told_if_what_was_never_acknowledged_is_gone(self, store, mailer):
        await record(store, *JobState, kept=100)
        await deferred(store, 1)
        first = (await read(mailer, 1, group="app"))[0].id
        a_lease_passes(store)
        store.raw.xdel(store.keys.events, first)  # as by MAXLEN, and the last one given is there
        with pytest.raises(EventsMissed):
            await read(mailer, group="app")
        assert len(await read(mailer, group="app")) == 3


async def test_results_are_recorded_with_their_events_where_memory_is_full(own_store):
    """The bound on memory is for new emails; what became of the others must not be lost."""
    store = own_store
    await record(store, *JobState)
    begun = await store.begun()
    store.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            store.raw.set("more", "x")
        await store.run(store.agenda.finish([store.result(begun)]))
    finally:
        store.raw.config_set("maxmemory", 0)
    assert await store.state(begun.lease.job_id) is SENT
    last = store.raw.xrevrange(store.keys.events, count=1)[0][1]
    assert last[b"state"] == b"sent"


async def test_an_event_costs_redis_one_command(own_store):
    store = own_store

    async def commands() -> int:
        store.raw.config_resetstat()
        await store.ended()
        return sum(v["calls"] for v in store.raw.info("commandstats").values())

    await commands()  # the server learns the scripts
    without = await commands()
    await record(store, JobState.SENT)
    assert await commands() == without + 1
    await record(store, JobState.FAILED)
    assert await commands() == without
