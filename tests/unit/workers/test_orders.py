"""Orders: many messages over few sessions, each once and with its own outcome."""

import asyncio
from collections import Counter

import pytest
from in_line import CHUNKS, LIMIT, TURNS, Mail, each_way, mails, names, stop, until

from mailer.testing import Action, Fault, Options, SmtpServer, hang, say
from workers.outcomes.outcome import Verdict
from workers.smtp.orders import Orders
from workers.smtp.session import Letter
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope

ACCEPTED, DEFERRED, REFUSED = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.REFUSED
IN_ONE_WRITE = b"\r\n.\r\nMAIL FROM:"


@each_way
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_many_messages_at_once_arrive_once_each_over_few_connections(in_line, way, warm):
    async with in_line(way=way, warm=warm) as line:
        assert set(await line.many(200, "m")) == {ACCEPTED}
        assert sorted(line.arrived) == sorted(names(200, "m"))
    assert line.server.state.connections <= LIMIT
    assert line.server.state.breaches == []


@each_way
async def test_no_more_messages_are_unanswered_than_the_relay_has_connections_and_no_less(
    in_line, way
):
    async with in_line(hang("dot"), way=way) as line:
        less_urgent = Orders(line.pool, 2)
        sending = asyncio.gather(line.many(50, "m"), line.send(*mails(50, "n"), orders=less_urgent))
        await until(lambda: line.written >= LIMIT)
        for _ in range(100):  # in which others could come
            await asyncio.sleep(0)
        assert line.written == LIMIT
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await stop(less_urgent)


@each_way
async def test_messages_that_come_while_others_are_sent_join_them(in_line, way):
    async with in_line(way=way, warm=False) as line:
        sending = []
        for i in range(60):
            sending.append(asyncio.create_task(line.send(Mail(f"m-{i}"))))
            for _ in range(i % 4):
                await asyncio.sleep(0)
        assert await asyncio.gather(*sending) == [[ACCEPTED]] * 60
        assert sorted(line.arrived) == sorted(names(60, "m"))


# by DATA, one behind the other


async def test_by_data_the_commands_of_the_next_are_in_one_write_with_the_dot(in_line):
    async with in_line(way=TURNS, connections=1) as line:
        assert set(await line.many(10, "m")) == {ACCEPTED}
        writes = [data for _, data in line.said]
    assert len(writes) == 11, "a round trip each, and one for the commands of the first"
    assert all(data.count(IN_ONE_WRITE) == 1 for data in writes[1:-1])
    assert all(data.endswith(b"DATA\r\n") for data in writes[:-1])
    assert "RSET" not in line.server.state.commands
    assert line.server.state.breaches == []


async def test_a_session_is_asked_once_whether_it_reads_on_behind_the_dot(in_line):
    async with in_line(way=TURNS, warm=False, connections=1) as line:
        for _ in range(3):
            assert set(await line.many(5, "m")) == {ACCEPTED}
        writes = [data for _, data in line.said]
    assert line.server.state.commands.count("RSET") == 1
    (probed,) = [i for i, data in enumerate(writes) if b"RSET" in data]
    assert b"m-0" in writes[probed]
    assert sum(IN_ONE_WRITE in data for data in writes) == 3 + 4 + 4


async def test_where_messages_are_sent_alone_nothing_is_asked(in_line):
    async with in_line(way=TURNS, warm=False, connections=1) as line:
        await line.many(1, "m")
        assert line.server.state.commands.count("RSET") == 0


@pytest.mark.parametrize(("way", "connections"), [(TURNS, 2), (CHUNKS, 3)], ids=["dot", "BDAT"])
async def test_a_server_that_forgets_what_stands_behind_a_message_is_found_out(
    in_line, way, connections, monkeypatch
):
    """By a RSET, and not by a message; by BDAT first, and then by DATA."""
    monkeypatch.setattr("workers.smtp.by_data._PROBED", 0.1)
    monkeypatch.setattr("workers.smtp.by_chunks._PROBED", 0.1)
    fault = Fault("dot", Action.LOSE_REST)
    async with in_line(fault, way=way, warm=False, connections=1) as line:
        assert set(await line.many(20, "m")) == {ACCEPTED}
        assert sorted(line.arrived) == sorted(names(20, "m"))
        assert not any(IN_ONE_WRITE in data for _, data in line.said)
        assert line.server.state.connections == connections, "the last one goes step by step"
        assert {message.turns for message in line.server.state.received[3:]} == {4}


async def test_a_server_that_does_not_take_the_question_well_gets_nothing_behind_a_dot(in_line):
    fault = say("502 5.5.1 What?", "rset")
    async with in_line(fault, way=TURNS, warm=False, connections=1) as line:
        assert set(await line.many(10, "m")) == {ACCEPTED}
        assert line.arrived == names(10, "m")
        assert not any(IN_ONE_WRITE in data for _, data in line.said)
        assert line.server.state.connections == 1


async def test_where_a_server_forgets_only_at_times_no_message_is_lost_or_sent_twice(in_line):
    faults = [Fault("dot", Action.LOSE_REST, match="-m-2@", times=1)]
    patience = Timeouts(command=0.1, data=20.0, block=20.0, final=20.0)
    async with in_line(*faults, way=TURNS, connections=1, timeouts=patience) as line:
        assert set(await line.many(6, "m")) == {ACCEPTED}
        assert sorted(line.arrived) == names(6, "m")


# refusals


@each_way
@pytest.mark.parametrize(
    ("place", "warm"),
    [(0, True), (2, True), (4, True), (0, False)],
    ids=["first", "amid", "last", "first of all"],
)
@pytest.mark.parametrize(
    ("at", "reply", "expected"),
    [
        ("mail", "451 4.7.1 later", DEFERRED),
        ("mail", "550 5.7.1 not you", REFUSED),
        ("rcpt", "450 4.7.1 greylisted", DEFERRED),
        ("rcpt", "550 5.1.1 nobody", REFUSED),
        ("data", "451 4.3.0 later", DEFERRED),
        ("data", "554 5.7.1 no", REFUSED),
        ("dot", "451 4.3.0 later", DEFERRED),
        ("dot", "554 5.7.1 spam", REFUSED),
    ],
)
async def test_a_refusal_concerns_one_message_and_the_session_is_good_for_more(
    in_line, way, warm, place, at, reply, expected
):
    if at == "data" and way is CHUNKS:
        pytest.skip("there is no DATA")
    async with in_line(
        say(reply, at, match=f"-m-{place}@"), way=way, warm=warm, connections=way.alone
    ) as line:
        told = await line.many(LIMIT, "m")
        others = [name for name in names(LIMIT, "m") if name != f"m-{place}"]
        assert sorted(line.arrived) == others
        connections = line.server.state.connections
        assert set(await line.many(LIMIT, "n")) == {ACCEPTED}
        assert sorted(line.arrived[4:]) == names(LIMIT, "n")
        assert line.server.state.connections == connections
    assert told.pop(place) is expected
    assert set(told) == {ACCEPTED}


@each_way
async def test_a_server_that_does_not_know_a_parameter_of_mail_gets_plainer_forms(in_line, way):
    """And the message as it must be without it."""

    class Fitting(Mail):
        async def build(self, extensions):
            self.body = b"8BITMIME" if "8bitmime" in extensions else b"7BIT"
            return await super().build(extensions)

    async with in_line(way=way, warm=False, connections=way.alone) as line:
        await line.many(6 * LIMIT, "warm")
        line.forget()
        line.faults(say("555 5.5.4 BODY?", "mail", match="-m-", times=1))
        told = await line.send(*(Fitting(name) for name in names(LIMIT, "m")))
        assert set(told) == {ACCEPTED}
        assert sorted(line.arrived) == names(LIMIT, "m")
    for message in line.server.state.received:
        assert ("BODY=8BITMIME" in message.parameters) is (b"8BITMIME" in message.data)


# sessions


@each_way
async def test_large_messages_among_small_ones_arrive_whole(in_line, way):
    large = b"\r\n".join([b".%d" % i + b"x" * 70 for i in range(2000)])
    bodies = {f"m-{i}": large if i % 7 == 3 else b"y" * i for i in range(40)}
    async with in_line(way=way) as line:
        told = await line.send(*(Mail(*item) for item in bodies.items()))
        assert sorted(line.arrived) == sorted(bodies)
        for name, message in zip(line.arrived, line.server.state.received, strict=True):
            assert message.data.partition(b"\r\n\r\n")[2] == bodies[name] + b"\r\n"
    assert set(told) == {ACCEPTED}
    assert line.server.state.breaches == []


@each_way
@pytest.mark.parametrize("connections", [1, LIMIT])
async def test_a_connection_gets_no_more_messages_than_its_relay_allows(in_line, way, connections):
    async with in_line(way=way, messages_per_connection=7, connections=connections) as line:
        assert set(await line.many(100, "m")) == {ACCEPTED}
        by_connection = Counter(message.connection for message in line.server.state.received)
        assert by_connection.total() == 100
    assert max(by_connection.values()) <= 7


@each_way
async def test_a_session_that_is_too_old_is_not_used_again(in_line, way):
    async with in_line(way=way, warm=False, connection_seconds=0.0) as line:
        for i in range(3):
            assert await line.send(Mail(f"m-{i}")) == [ACCEPTED]
    assert [message.connection for message in line.server.state.received] == [1, 2, 3]


@each_way
async def test_a_session_that_the_server_has_closed_is_replaced_without_loss(in_line, way):
    async with in_line(way=way) as line:
        for client in list(line.server.state.clients):
            client.close()
        if way is CHUNKS:  # by DATA it need not be known
            await until(lambda: not any(session.usable for _, session in line.pool._idle))
        assert set(await line.many(20, "m")) == {ACCEPTED}
        assert sorted(line.arrived) == sorted(names(20, "m"))


@each_way
async def test_the_urgent_go_before_those_that_wait_longer(in_line, way):
    async with in_line(way=way, connections=way.alone) as line:
        begun = asyncio.Event()
        urgent = Orders(line.pool, 0)
        usual = mails(30, "m")
        usual[0].begin = begun.set
        sending = asyncio.create_task(line.send(*usual))
        await begun.wait()
        assert await line.send(*mails(3, "urgent"), orders=urgent) == [ACCEPTED] * 3
        assert await sending == [ACCEPTED] * 30
        await stop(urgent)
    # and behind those only that were taken before they came
    assert line.arrived.index("urgent-2") < (LIMIT if way is CHUNKS else 10) + 3


@pytest.mark.parametrize("recipients", [1, 2])
async def test_by_lmtp_nothing_follows_a_message_for_several_recipients(
    connector, said, recipients
):
    """It has a reply for each: a missing one could not be told from the next message's."""
    envelope = Envelope("from@example.com", [f"to-{i}@example.org" for i in range(recipients)])
    letters = [Letter(envelope, b"Subject: hi\r\n\r\nHello\r\n")] * 4
    async with SmtpServer(Options(lmtp=True, extensions=TURNS.extensions)) as server:
        session = await connector(server.port, lmtp=True)()
        transcripts = []

        async def heard(transcript):
            transcripts.append(transcript)

        await session.transact_all(letters, 4, heard)
        await session.quit()
    assert [len(transcript.finals) for transcript in transcripts] == [recipients] * 4
    followed = [data for _, data in said if b"\r\n.\r\nMAIL" in data]
    assert bool(followed) is (recipients == 1)
