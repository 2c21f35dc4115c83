"""Runs: several messages in one write, each with its own outcome, and none of them in doubt more
often than one by one.
"""

import asyncio
from contextlib import asynccontextmanager

import attrs
import pytest

from mailer.testing import Action, Fault, Options, SmtpServer, go_away, hang, say, slow
from workers.outcomes.outcome import Verdict, classify
from workers.smtp import runs
from workers.smtp.pool import Pool
from workers.smtp.runs import Runs
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope, Phase

CHUNKING = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 52428800", "CHUNKING")
LIMIT = 5
PATIENCE = Timeouts(command=20.0, data=20.0, block=20.0, final=20.0)


@pytest.fixture
def pooled(connector, monkeypatch):
    """Runs a server that never takes too long, and a pool that has learned to give it runs."""
    monkeypatch.setattr(runs, "_SOON", 60.0)
    monkeypatch.setattr(runs, "_LATE", 60.0)

    @asynccontextmanager
    async def run(*, timeouts=PATIENCE, late=0, late_seconds=20.0, **relay):
        async with SmtpServer(Options(extensions=CHUNKING)) as server:
            connect = connector(
                server.port, timeouts, connections=LIMIT, late_connections=late, **relay
            )
            pool = Pool(connect, idle_seconds=30.0, late_seconds=late_seconds)
            try:
                await many(pool, 6 * LIMIT, "warm")
                server.state.received.clear()
                server.state.commands = []
                yield server, pool
            finally:
                await pool.close()

    return run


async def send(pool, name, body=b"Hello", *, slowly=0, before_final=None):
    """Deliver one message as the workers do; its envelope tells which it is."""
    envelope = Envelope(f"from-{name}@example.com", [f"to-{name}@example.org"])

    async def build(extensions):
        for _ in range(slowly):
            await asyncio.sleep(0)
        return envelope, [b"Subject: %s\r\n\r\n%s\r\n" % (name.encode(), body)]

    async with pool.seat(1) as seat:
        return await seat.transact(build, lambda: None, lambda: None, before_final)


async def many(pool, number, prefix):
    return await asyncio.gather(*(send(pool, f"{prefix}-{i}") for i in range(number)))


def verdicts(transcripts):
    return [classify(transcript, 1).judgements[0].verdict for transcript in transcripts]


def arrived(server):
    """Names of the messages that arrived; each has the envelope that it was given."""
    names = []
    for message in server.state.received:
        name = message.data.partition(b"\r\n")[0].removeprefix(b"Subject: ").decode()
        assert message.sender == f"from-{name}@example.com"
        assert message.recipients == (f"to-{name}@example.org",)
        names.append(name)
    return names


async def test_messages_that_are_sent_at_once_go_in_one_write_over_one_connection(pooled):
    async with pooled() as (server, pool):
        transcripts = await many(pool, 10 * LIMIT, "m")
        assert sorted(arrived(server)) == sorted(f"m-{i}" for i in range(10 * LIMIT))
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}
    clients = {message.connection for message in server.state.received}
    assert len(clients) <= 2
    assert server.state.commands.count("RSET") == 10 * (LIMIT - 1)
    assert server.state.breaches == []


async def test_one_message_alone_is_not_preceded_by_a_reset(pooled):
    async with pooled() as (server, pool):
        for i in range(5):
            await send(pool, f"m-{i}")
    assert "RSET" not in server.state.commands


@pytest.mark.parametrize("place", [0, 2, LIMIT - 1], ids=["first", "amid", "last"])
@pytest.mark.parametrize(
    ("at", "reply", "phase", "expected"),
    [
        ("mail", "451 4.7.1 later", Phase.MAIL, Verdict.DEFERRED),
        ("mail", "550 5.7.1 not you", Phase.MAIL, Verdict.REFUSED),
        ("rcpt", "550 5.1.1 nobody", Phase.RCPT, Verdict.REFUSED),
        ("rcpt", "450 4.7.1 greylisted", Phase.RCPT, Verdict.DEFERRED),
        ("dot", "554 5.7.1 spam", Phase.DOT, Verdict.REFUSED),
    ],
)
async def test_a_refusal_within_a_run_is_of_one_message_only(
    pooled, at, reply, phase, expected, place
):
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [say(reply, at, match=f"-m-{place}@")]
        transcripts = await many(pool, LIMIT, "m")
        assert transcripts[place].phase is phase
        others = [i for i in range(LIMIT) if i != place]
        assert arrived(server) == [f"m-{i}" for i in others]
        # and the session is good for more
        assert set(verdicts(await many(pool, LIMIT, "n"))) == {Verdict.ACCEPTED}
        assert arrived(server)[len(others) :] == [f"n-{i}" for i in range(LIMIT)]
    told = verdicts(transcripts)
    assert told.pop(place) is expected
    assert set(told) == {Verdict.ACCEPTED}


async def test_what_comes_behind_a_421_goes_at_once_over_another_connection(pooled):
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [attrs.evolve(go_away("mail", times=1), match="-m-2@")]
        transcripts = await many(pool, LIMIT, "m")
        assert sorted(arrived(server)) == [f"m-{i}" for i in range(LIMIT)]
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}


async def test_a_server_that_said_421_and_stays_is_not_waited_for(pooled, monkeypatch):
    monkeypatch.setattr("workers.smtp.channel._GOODBYE", 0.1)
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [
            say("421 4.3.2 Closing", "mail", match="-m-1@", times=1),
            hang("mail", match="-m-2@", times=1),
        ]
        transcripts = await many(pool, LIMIT, "m")
        assert sorted(arrived(server)) == [f"m-{i}" for i in range(LIMIT)]
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("action", [Action.LOSE_REPLY, Action.CLOSE])
async def test_where_a_connection_is_lost_all_that_was_not_answered_is_in_doubt(pooled, action):
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [Fault("dot", action, match="-m-2@", times=1)]
        transcripts = await many(pool, LIMIT, "m")
        taken = arrived(server)
    told = verdicts(transcripts)
    accepted = [f"m-{i}" for i in range(LIMIT) if told[i] is Verdict.ACCEPTED]
    assert set(accepted) <= set(taken), "none is said to have arrived that has not"
    in_doubt = {f"m-{i}" for i in range(LIMIT)} - set(accepted)
    assert set(taken) - set(accepted) <= in_doubt
    assert {told[i] for i in range(LIMIT) if f"m-{i}" in in_doubt} == {Verdict.UNKNOWN}


async def test_what_needs_several_writes_has_a_session_for_itself(pooled):
    async def committed():
        await asyncio.sleep(0)

    large = b"x" * 70 + b"\r\n"
    async with pooled() as (server, pool):
        transcripts = await asyncio.gather(
            send(pool, "slow", slowly=3),
            send(pool, "large", large * 2000),
            send(pool, "a"),
            send(pool, "once", before_final=committed),
            send(pool, "b"),
        )
        assert sorted(arrived(server)) == ["a", "b", "large", "once", "slow"]
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}
    (whole,) = [m for m in server.state.received if m.sender == "from-large@example.com"]
    assert whole.data.count(large) == 2000
    assert server.state.breaches == []


async def test_nobody_joins_a_message_of_several_writes(pooled):
    """Though it was the first to take the session, as if for a run."""
    async with pooled() as (server, pool):
        large = b"\r\n".join([b"x" * 900] * 100)
        names = ["m-0", "m-1", "m-2"]
        transcripts = await asyncio.gather(
            send(pool, "large", large), *(send(pool, name) for name in names)
        )
        assert sorted(arrived(server)) == ["large", *names]
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}


async def test_of_messages_large_and_small_at_random_each_arrives_as_it_is(pooled):
    async with pooled() as (server, pool):
        bodies = {f"m-{i}": b"y" * (90_000 if i % 7 == 3 else i) for i in range(60)}
        transcripts = await asyncio.gather(
            *(
                send(pool, name, b"\r\n.\r\n".join([body[:900], b"end"]), slowly=len(name) % 3)
                if len(body) < 900
                else send(pool, name, b"\r\n".join([body[:900]] * 100))
                for name, body in bodies.items()
            )
        )
        assert sorted(arrived(server)) == sorted(bodies)
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}


async def test_a_server_that_forgets_what_stands_behind_a_message_gets_no_runs(
    connector, monkeypatch
):
    """It is found out by a RSET, and not by a message."""
    monkeypatch.setattr(runs, "_SOON", 60.0)
    monkeypatch.setattr("workers.smtp.by_chunks._PROBED", 0.2)
    options = Options(extensions=CHUNKING, faults=[Fault("dot", Action.LOSE_REST)])
    async with SmtpServer(options) as server:
        pool = Pool(connector(server.port, connections=1), idle_seconds=30.0)
        transcripts = [await send(pool, f"m-{i}") for i in range(6)]
        await pool.close()
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}
    assert arrived(server) == [f"m-{i}" for i in range(6)]
    assert server.state.connections == 2, "the second one goes by DATA"


async def test_a_server_that_hangs_up_behind_the_second_message_may_take_runs_all_the_same(
    connector, monkeypatch
):
    monkeypatch.setattr(runs, "_SOON", 60.0)
    options = Options(extensions=CHUNKING, faults=[go_away("rset", times=2)])
    async with SmtpServer(options) as server:
        server.state.commands = []
        pool = Pool(connector(server.port, connections=1), idle_seconds=30.0)
        transcripts = [await send(pool, f"m-{i}") for i in range(8)]
        await pool.close()
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}
    assert arrived(server) == [f"m-{i}" for i in range(8)]
    assert "DATA" not in server.state.commands


async def test_a_connection_gets_no_more_messages_than_its_relay_allows(pooled):
    async with pooled(messages_per_connection=7) as (server, pool):
        transcripts = await many(pool, 100, "m")
        assert len(arrived(server)) == 100
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}
    by_connection = [message.connection for message in server.state.received]
    assert max(map(by_connection.count, by_connection)) <= 7


async def test_a_server_that_turns_out_not_to_know_a_parameter_gets_none(pooled):
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [say("555 5.5.4 SIZE?", "mail", times=LIMIT)]
        transcripts = await many(pool, LIMIT, "m")
        assert sorted(arrived(server)) == [f"m-{i}" for i in range(LIMIT)]
    assert set(verdicts(transcripts)) == {Verdict.ACCEPTED}


async def test_a_relay_that_leaves_messages_unanswered_gets_them_one_by_one(pooled):
    async with pooled(late=LIMIT, late_seconds=0.0) as (server, pool):
        server.state.options.faults[:] = [hang("dot", match="-m-0@")]
        sending = asyncio.create_task(many(pool, 4 * LIMIT, "m"))
        while not pool.seats.aside:
            await asyncio.sleep(0.01)
            pool.set_aside_late()
        while len(server.state.received) < 3 * LIMIT:
            await asyncio.sleep(0.01)
        names = arrived(server)
        assert len(names) == len(set(names))
        server.state.commands.clear()
        await many(pool, LIMIT, "n")
        assert "RSET" not in server.state.commands
        sending.cancel()


async def test_a_run_that_is_canceled_leaves_no_session_behind(pooled):
    async with pooled() as (server, pool):
        server.state.options.faults[:] = [slow(20, at="dot", match="-m-")]
        sending = asyncio.create_task(many(pool, LIMIT, "m"))
        while not any(seat.waits for seat in pool.seats.taken):
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert set(verdicts(await many(pool, LIMIT, "n"))) == {Verdict.ACCEPTED}


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
