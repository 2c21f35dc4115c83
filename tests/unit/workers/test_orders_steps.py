"""What orders do and raise themselves concerns them alone; and those that are given up."""

import asyncio

import pytest
from in_line import (
    CHUNKS,
    HANDED_BACK,
    LIMIT,
    each_place,
    each_way,
    mails,
    names,
    stop,
    until,
)

from mailer.testing import hang
from workers.outcomes.outcome import Verdict

ACCEPTED = Verdict.ACCEPTED


class Odd(Exception):
    """What only one of them raises."""


def raises(*_):
    raise Odd


async def raises_later(*_):
    await asyncio.sleep(0)
    raise Odd


async def one_alone(line, place, oddly, *, told, arrives):
    """Send five, one of them oddly; see that the others are sent."""
    usual = mails(LIMIT, "m")
    oddly(usual[place])
    outcomes = await line.send(*usual)
    odd = outcomes.pop(place)
    assert isinstance(odd, told) if isinstance(told, type) else odd == told
    assert outcomes == [ACCEPTED] * (LIMIT - 1)
    expected = [name for name in names(LIMIT, "m") if arrives or name != f"m-{place}"]
    assert sorted(line.arrived) == expected
    assert await line.many(LIMIT, "n") == [ACCEPTED] * LIMIT


@each_way
@each_place
async def test_a_message_that_ends_at_its_turn_is_not_sent(in_line, way, place):
    def oddly(mail):
        mail.begin = lambda: "held"

    async with in_line(way=way, connections=way.alone) as line:
        await one_alone(line, place, oddly, told="held", arrives=False)


@each_way
@each_place
@pytest.mark.parametrize(
    ("step", "does", "arrives"),
    [("begin", raises, False), ("build", raises_later, False), ("judge", raises_later, True)],
)
async def test_what_an_order_raises_comes_to_its_own_sender(
    in_line, way, place, step, does, arrives
):
    async with in_line(way=way, connections=way.alone) as line:
        await one_alone(
            line, place, lambda mail: setattr(mail, step, does), told=Odd, arrives=arrives
        )


@each_way
@each_place
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("nth", [1, 2], ids=["before its turn", "before its end"])
async def test_a_message_that_must_not_be_sent_any_more_is_not(in_line, way, warm, place, nth):
    if nth == 2 and way is CHUNKS and (warm or place):
        pytest.skip("it goes in one write")

    def oddly(mail):
        def look():
            mail.looks += 1
            if mail.looks == nth:
                raise Odd

        mail.look = look

    async with in_line(way=way, warm=warm, connections=way.alone) as line:
        await one_alone(line, place, oddly, told=Odd, arrives=False)


@each_way
async def test_a_large_message_that_must_not_be_sent_any_more_is_not(in_line, way):
    def oddly(mail):
        mail.body = b"\r\n".join([b"x" * 900] * 100)
        mail.look = raises

    async with in_line(way=way, connections=way.alone) as line:
        await one_alone(line, 2, oddly, told=Odd, arrives=False)


# those that are given up


def held_up(mail, step):
    """Have a message wait at a step; gives that it does, and what lets it go on."""
    waits, may_go = asyncio.Event(), asyncio.Event()
    usual = getattr(mail, step)

    async def wait(value):
        waits.set()
        await may_go.wait()
        return await usual(value)

    setattr(mail, step, wait)
    return waits, may_go


@each_way
@pytest.mark.parametrize("step", ["build", "judge"])
@pytest.mark.parametrize("given_up", [3, 9])
async def test_who_gives_up_before_its_message_was_begun_has_it_not_sent(
    in_line, way, step, given_up
):
    """It waits in line, or is taken, or is built already."""
    if step == "judge" and way is CHUNKS and given_up < LIMIT:
        pytest.skip("it went in one write with the first")
    async with in_line(way=way, connections=way.alone) as line:
        usual = mails(10, "m")
        waits, may_go = held_up(usual[0], step)
        sending = [line.add(mail) for mail in usual]
        await waits.wait()
        canceled = sending.pop(given_up)
        canceled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await canceled
        may_go.set()
        async with asyncio.timeout(4):
            assert await asyncio.gather(*sending) == [ACCEPTED] * 9
        expected = [name for name in names(10, "m") if name != f"m-{given_up}"]
        assert sorted(line.arrived) == expected


@each_way
async def test_who_gives_up_while_its_message_is_sent_does_not_harm_the_others(in_line, way):
    async with in_line(way=way, connections=way.alone) as line:
        usual = mails(LIMIT, "m")
        waits, may_go = held_up(usual[0], "judge")
        sending = [line.add(mail) for mail in usual]
        await waits.wait()
        canceled = sending.pop(1)  # by turns its commands were said, by chunks all of it
        canceled.cancel()
        may_go.set()
        async with asyncio.timeout(4):
            assert await asyncio.gather(*sending) == [ACCEPTED] * (LIMIT - 1)
        assert canceled.cancelled()
        assert {*names(LIMIT, "m")} - set(line.arrived) <= {"m-1"}
        assert len(line.arrived) == len(set(line.arrived))


@each_way
@pytest.mark.parametrize("number", [LIMIT, 40], ids=["all taken", "some in line"])
@pytest.mark.parametrize("at", ["mail", "dot", "build", "judge"])
async def test_at_a_stop_all_of_which_the_server_has_nothing_is_handed_back(
    in_line, way, at, number
):
    """The others are cut off: nobody knows what became of them, and nobody says so."""
    faults = [hang(at, match="-m-")] if at in {"mail", "dot"} else []
    async with in_line(*faults, way=way) as line:
        usual = mails(number, "m")
        waits = None if faults else held_up(usual[0], at)[0]
        told = [line.add(mail) for mail in usual]
        await until(lambda: waits.is_set() if waits else faults[0].happened)
        begun = line.written if way is CHUNKS else LIMIT
        await stop(line.orders)
        left = [mail.name for mail, result in zip(usual, told, strict=True) if not result.done()]
        assert len(left) <= begun
        assert {result.result() for result in told if result.done()} <= {HANDED_BACK, ACCEPTED}


@each_way
async def test_at_a_stop_while_it_connects_all_is_handed_back(in_line, way):
    silent = hang("connect")
    async with in_line(silent, way=way, warm=False, connect=0.1) as line:
        told = [line.add(mail) for mail in mails(10, "m")]
        await until(lambda: silent.happened)
        await stop(line.orders)
        assert [result.result() for result in told] == [HANDED_BACK] * 10


@each_way
async def test_what_comes_after_a_stop_is_handed_back(in_line, way):
    async with in_line(way=way) as line:
        await stop(line.orders)
        assert await line.many(3, "m") == [HANDED_BACK] * 3
        assert line.arrived == []
