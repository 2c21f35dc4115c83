"""Runs: several messages by BDAT in one write, where that is known to work.

What holds for every way to send several messages is in test_orders.py.
"""

import asyncio

import pytest
from in_line import CHUNKS, LIMIT, Mail, mails, names, stop, until

from mailer.testing import go_away, hang, slow
from workers.outcomes.outcome import Verdict
from workers.smtp import runs
from workers.smtp.orders import Orders
from workers.smtp.runs import Runs
from workers.smtp.transaction import Envelope

ACCEPTED = Verdict.ACCEPTED


async def other(line):
    """One more who wants a seat, as messages do that need something of their own."""
    async with line.pool.seat(1):
        return


async def test_messages_that_are_sent_at_once_go_in_one_write_over_one_connection(in_line):
    async with in_line(way=CHUNKS) as line:
        assert await line.many(10 * LIMIT, "m") == [ACCEPTED] * 10 * LIMIT
        assert line.arrived == names(10 * LIMIT, "m")
        writes = [data for _, data in line.said]
    assert [data.count(b" LAST\r\n") for data in writes] == [LIMIT] * 10
    assert len({message.connection for message in line.server.state.received}) == 1
    assert {message.turns for message in line.server.state.received} == {1}
    assert line.server.state.breaches == []


async def test_before_each_message_of_a_run_but_the_first_the_server_is_reset(in_line):
    """Nobody knows in what state one that was refused leaves it."""
    async with in_line(way=CHUNKS) as line:
        await line.many(LIMIT, "m")
        verbs = [verb for verb in line.server.state.commands if verb in {"RSET", "MAIL"}]
    assert verbs == ["MAIL", *["RSET", "MAIL"] * (LIMIT - 1)]


async def test_one_message_alone_is_not_preceded_by_a_reset(in_line):
    async with in_line(way=CHUNKS) as line:
        for i in range(5):
            assert await line.send(Mail(f"m-{i}")) == [ACCEPTED]
        assert "RSET" not in line.server.state.commands


async def test_what_needs_several_writes_has_a_seat_for_itself(in_line):
    async def build(extensions):
        envelope = Envelope("from-once@example.com", ["to-once@example.org"])
        return envelope, [b"Subject: once\r\n\r\nHello\r\n"]

    async def committed():
        await asyncio.sleep(0)

    async def send_once(line):
        async with line.pool.seat(1) as seat:
            return await seat.transact(build, lambda: None, lambda: None, committed)

    async with in_line(way=CHUNKS) as line:
        large = Mail("large", b"\r\n".join([b"x" * 900] * 100))
        told, once = await asyncio.gather(
            line.send(*mails(7, "m"), large, *mails(7, "n")), send_once(line)
        )
        assert sorted(line.arrived) == sorted([*names(7, "m"), "large", *names(7, "n"), "once"])
    assert told == [ACCEPTED] * 15
    assert once.final.positive
    assert line.server.state.breaches == []


async def test_a_server_that_hangs_up_behind_the_second_message_may_take_runs_all_the_same(in_line):
    async with in_line(go_away("rset", times=2), way=CHUNKS, warm=False) as line:
        assert await line.many(60, "m") == [ACCEPTED] * 60
        assert sorted(line.arrived) == sorted(names(60, "m"))
        assert "DATA" not in line.server.state.commands
        assert line.pool.run > 1


async def test_a_relay_that_leaves_messages_unanswered_gets_them_one_by_one(in_line):
    fault = hang("dot", match="-m-0@")
    async with in_line(fault, way=CHUNKS, late=2 * LIMIT, late_seconds=0.0) as line:
        stuck = asyncio.create_task(line.many(LIMIT, "m"))
        await until(lambda: fault.happened)
        waits = asyncio.create_task(other(line))
        await line.set_aside()
        await waits
        line.forget()
        assert set(await line.many(4 * LIMIT, "n")) == {ACCEPTED}
        assert "RSET" not in line.server.state.commands
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)


async def test_a_run_that_is_canceled_leaves_no_session_behind(in_line):
    fault = slow(20, at="dot", match="-m-")
    async with in_line(fault, way=CHUNKS) as line:
        told = [line.add(mail) for mail in mails(LIMIT, "m")]
        await until(lambda: fault.happened)
        await stop(line.orders)
        assert not any(result.done() for result in told)
        others = Orders(line.pool, 1)
        assert await line.send(*mails(LIMIT, "n"), orders=others) == [ACCEPTED] * LIMIT


# how long they are


def learned(*answers, most=8):
    """The length after runs of the length that it then has were answered in so many seconds."""
    found = Runs(most)
    for took in answers:
        found.answered(0.0, found.length, took)
    return found.length


@pytest.mark.parametrize(
    ("answers", "length"),
    [
        ([], 1),
        ([0.001] * 3, 4),
        ([0.001] * 100, 8),
        ([0.001] * 4 + [0.01] * 10, 5),
        ([0.001] * 7 + [0.03], 4),
        ([0.001] * 7 + [0.03] * 9, 1),
        ([0.05] * 9, 1),
    ],
)
def test_a_run_is_as_long_as_the_relay_answers_soon(answers, length):
    assert learned(*answers) == length


def test_a_run_does_not_grow_by_shorter_ones():
    found = Runs(8)
    found.answered(0.0, 1, 0.001)
    for _ in range(10):
        found.answered(0.0, 1, 0.001)
    assert found.length == 2


def test_after_a_pause_runs_grow_again():
    found = Runs(8)
    found.answered(0.0, 1, 0.001)
    found.pause(0.0)
    found.answered(1.0, 1, 0.001)
    assert found.length == 1
    found.answered(runs._PAUSE, 1, 0.001)
    assert found.length == 2
