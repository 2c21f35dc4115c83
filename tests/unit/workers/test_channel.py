"""How long a session waits: each answer has a bound of its own, and one timer sees to all."""

import asyncio
import gc
import weakref

import pytest

from workers.smtp.channel import Channel

LONG, BRIEF = 30.0, 0.02  # seconds


class Transport(asyncio.Transport):
    """One on which the test answers by hand."""

    def __init__(self):
        super().__init__()
        self.is_aborted = False

    def set_protocol(self, protocol):
        pass

    def write(self, data):
        pass

    def abort(self):
        self.is_aborted = True

    def is_closing(self):
        return self.is_aborted

    def close(self):
        self.is_aborted = True


@pytest.fixture
async def channel():
    return Channel(Transport())


async def asked(channel, bound, reply=b"250 ok\r\n"):
    """Say something and wait so long for the answer; without ``reply`` there is none."""
    answer = channel.expect(1)
    reading = asyncio.create_task(channel.read(answer, bound))
    await asyncio.sleep(0)
    if reply:
        channel.data_received(reply)
    return await reading


async def test_an_answer_that_does_not_come_ends_the_session(channel):
    assert await asked(channel, BRIEF, None) == []
    assert channel.failure == f"no reply within {BRIEF} s"
    assert channel.is_overdue


async def test_behind_one_that_may_take_long_a_brief_one_is_given_up_in_its_time(channel):
    await asked(channel, LONG)
    assert await asked(channel, BRIEF, None) == []
    assert channel.failure == f"no reply within {BRIEF} s"


async def test_behind_a_brief_one_another_may_take_long(channel):
    await asked(channel, BRIEF)
    slow = asyncio.create_task(asked(channel, LONG, None))
    await asyncio.sleep(3 * BRIEF)
    assert channel.failure is None
    channel.data_received(b"250 at last\r\n")
    assert [reply.text for reply in await slow] == ["at last"]


async def test_behind_a_brief_one_a_longer_one_is_given_up_in_its_time_too(channel):
    await asked(channel, BRIEF)
    began = asyncio.get_running_loop().time()
    assert await asked(channel, 3 * BRIEF, None) == []
    assert channel.failure == f"no reply within {3 * BRIEF:g} s"
    assert asyncio.get_running_loop().time() - began >= 3 * BRIEF - 0.005


async def test_of_several_that_are_waited_for_the_first_to_be_overdue_counts(channel):
    first, second = channel.expect(1), channel.expect(1)
    reading = [
        asyncio.create_task(channel.read(answer, bound))
        for answer, bound in ((first, LONG), (second, BRIEF))
    ]
    assert await asyncio.gather(*reading) == [[], []]
    assert channel.failure == f"no reply within {BRIEF} s"


async def test_a_session_at_rest_is_not_ended(channel):
    await asked(channel, BRIEF)
    await asyncio.sleep(3 * BRIEF)
    assert channel.usable


@pytest.mark.parametrize("how", ["fail", "close"])
async def test_nothing_keeps_a_session_that_has_ended(how):
    channel = Channel(Transport())
    await asked(channel, LONG)
    if how == "fail":
        channel.fail("over")
    else:
        channel.close()
        channel.connection_lost(None)
    last = weakref.ref(channel)
    del channel
    await asyncio.sleep(0)
    gc.collect()
    assert last() is None
