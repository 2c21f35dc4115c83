import asyncio
import email
import email.policy

import pytest

from mailer.address import Address
from mailer.message import Message
from mailer.mime import render
from mailer.testing import (
    Action,
    Fault,
    go_away,
    greylist,
    hang,
    hang_up_once,
    lose_reply,
    refuse,
    say,
    slow,
)
from workers.outcomes.outcome import Verdict, classify
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope, Phase

MESSAGE = b"Message-ID: <m@example.com>\r\nSubject: hi\r\n\r\nHello\r\n"
ONE = Envelope("from@example.com", ["jm@example.org"])
TWO = Envelope("from@example.com", ["jm@example.org", "anna@example.net"])
PIPELINING = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
IMPATIENT = Timeouts(command=0.05, data=0.05, block=0.05, final=0.05)


async def take_one(reader, writer):
    """Be a server that accepts one message."""
    await reader.readuntil(b"DATA\r\n")
    writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250 ok\r\n")


def wire_of(message, contents, **options):
    return bytes(render(message, contents, **options))


def codes(transcript):
    """Name what was replied: MAIL, each RCPT, DATA, the dot."""
    replies = [transcript.mail, *transcript.recipients, transcript.data, transcript.final]
    return [reply.code if reply else None for reply in replies]


# a transaction as it should be


async def test_a_message_arrives_with_its_envelope(serving):
    async with serving() as (server, session):
        transcript = await session.transact(TWO, MESSAGE)
    (received,) = server.state.received
    assert received.sender == "from@example.com"
    assert received.recipients == ("jm@example.org", "anna@example.net")
    assert received.data == MESSAGE
    assert transcript.phase is Phase.DOT
    assert codes(transcript) == [250, 250, 250, 354, 250]
    assert transcript.final.enhanced_code == "2.0.0"
    assert transcript.failure is None


async def test_the_envelope_goes_in_one_write_where_the_server_pipelines(talking):
    """The server answers nothing before it has seen DATA: one command at a time would hang."""
    said = []

    async def serve(reader, writer):
        said.append(await reader.readuntil(b"DATA\r\n"))
        writer.write(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        said.append(await reader.readuntil(b"\r\n.\r\n"))
        writer.write(b"250 ok\r\n")
        await reader.read()

    async with talking(serve, *PIPELINING) as session:
        transcript = await session.transact(TWO, MESSAGE)
    assert codes(transcript) == [250, 250, 250, 354, 250]
    assert said[0] == (
        b"MAIL FROM:<from@example.com> BODY=8BITMIME\r\nRCPT TO:<jm@example.org>\r\n"
        b"RCPT TO:<anna@example.net>\r\nDATA\r\n"
    )


async def test_without_pipelining_each_command_waits_for_its_reply(talking):
    early = []

    async def serve(reader, writer):
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readuntil(b"\r\n")
            await asyncio.sleep(0)
            early.append(bytes(reader._buffer))
            writer.write(answer)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 ok\r\n")
        await reader.read()

    async with talking(serve) as session:
        transcript = await session.transact(TWO, MESSAGE)
    assert codes(transcript) == [250, 250, 250, 354, 250]
    assert early == [b""] * 4


@pytest.mark.parametrize("extensions", [(), PIPELINING], ids=["plain", "pipelining"])
async def test_many_transactions_share_a_session(serving, extensions):
    async with serving(extensions=extensions) as (server, session):
        for _ in range(20):
            assert (await session.transact(ONE, MESSAGE)).final.positive
            assert session.usable
    assert (server.state.count, server.state.connections) == (20, 1)
    assert "RSET" not in server.state.commands


async def test_a_session_knows_how_long_its_server_took_at_most_for_the_last_message(serving):
    fault = slow(0.3)
    async with serving(fault, extensions=PIPELINING) as (_, session):
        transaction = asyncio.create_task(session.transact(ONE, MESSAGE))
        while session.waits < 0.1:
            await asyncio.sleep(0.01)
        await transaction
        first = session.longest_wait
        fault.delay = 0.0
        await session.transact(ONE, MESSAGE)
        assert session.longest_wait < first
        assert first >= 0.25
        assert session.waits == 0.0


@pytest.mark.parametrize(
    ("extensions", "envelope", "mail"),
    [
        ((), ONE, b"MAIL FROM:<from@example.com>\r\n"),
        (("8BITMIME",), ONE, b"MAIL FROM:<from@example.com> BODY=8BITMIME\r\n"),
        (("SIZE 9",), Envelope("", ["a@b"], size=7), b"MAIL FROM:<> SIZE=7\r\n"),
        (("SIZE",), Envelope("", ["a@b"], size=7), b"MAIL FROM:<> SIZE=7\r\n"),
        ((), Envelope("", ["a@b"], size=7), b"MAIL FROM:<>\r\n"),
        ((), Envelope("", ["a@example.org"]), b"MAIL FROM:<>\r\n"),
        (
            ("8BITMIME", "SMTPUTF8"),
            Envelope("jörg@example.com", ["a@example.org"], smtputf8=True),
            "MAIL FROM:<jörg@example.com> BODY=8BITMIME SMTPUTF8\r\n".encode(),
        ),
    ],
    ids=["plain", "8BITMIME", "SIZE", "SIZE of no limit", "no SIZE", "null sender", "SMTPUTF8"],
)
async def test_mail_says_only_what_the_server_understands(talking, extensions, envelope, mail):
    said = []

    async def serve(reader, writer):
        said.append(await reader.readuntil(b"\r\n"))

    async with talking(serve, *extensions) as session:
        await session.transact(envelope, MESSAGE)
    assert said == [mail]


@pytest.mark.parametrize(
    "body",
    [
        b".\r\n",
        b"..\r\n",
        b"a\r\n.\r\nb\r\n",
        b"a\r\n..\r\nb\r\n",
        b".\r\n.\r\n.\r\n",
        b"a\r\n.b\r\n",
        b"\r\n.\r\n\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n",
        b"x" * 100_000 + b"\r\n.\r\n",
        b".\r\n" * 200_000,
    ],
    ids=lambda body: ascii(body[:24]),
)
async def test_dots_are_doubled_on_the_way_only(serving, body):
    async with serving() as (server, session):
        await session.transact(ONE, MESSAGE + body)
        await session.transact(ONE, body)
    assert [received.data for received in server.state.received] == [MESSAGE + body, body]
    assert server.state.commands.count("MAIL") == 2


HOSTILE = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r\n",
    "\r\n.\r",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r.\r",
]
SMUGGLED = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nhi\r\n.\r\n"


@pytest.mark.parametrize("eight_bit", [False, True], ids=["7 bit", "8 bit"])
@pytest.mark.parametrize("end", HOSTILE, ids=ascii)
async def test_a_hostile_body_is_one_message_with_its_text_intact(serving, end, eight_bit):
    message = Message(
        message_id="<m@example.com>",
        from_email=Address("from@example.com"),
        to=(Address("jm@example.org"),),
        text=f"before{end}{SMUGGLED}grüße",
    )
    async with serving() as (server, session):
        await session.transact(ONE, wire_of(message, {}, eight_bit=eight_bit))
        assert session.usable
    (received,) = server.state.received
    assert server.state.commands.count("MAIL") == 1
    parsed = email.message_from_bytes(received.data, policy=email.policy.SMTP)
    text = parsed.get_payload(decode=True).decode()
    assert text.replace("\r\n", "\n").rstrip("\n") == message.text.replace("\r\n", "\n") or (
        # a text has lines: a bare CR or LF may have become the end of one
        text.split() == message.text.split()
    )


async def test_a_large_message_waits_for_a_slow_reader(talking):
    """Never much more than a chunk is in the transport's buffer."""
    message = MESSAGE + (b"y" * 76 + b"\r\n") * 66_000  # 5 MB
    pending, got = [], bytearray()

    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        while not got.endswith(b"\r\n.\r\n"):
            got.extend(await reader.read(100_000))
            pending.append(session._channel._transport.get_write_buffer_size())
        writer.write(b"250 ok\r\n")
        await reader.read()

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(ONE, message)
    assert transcript.final.positive
    assert bytes(got) == message + b".\r\n"
    assert max(pending) < 1_000_000


@pytest.mark.parametrize("size", [262_141, 262_142, 262_143, 262_144, 262_145, 524_285, 524_288])
async def test_a_message_may_have_any_size_around_that_of_a_chunk(serving, size):
    message = b"z" * (size - 2) + b"\r\n"
    async with serving() as (server, session):
        assert (await session.transact(ONE, message)).final.positive
    assert server.state.received[0].data == message


# refusals


@pytest.mark.parametrize("extensions", [(), PIPELINING], ids=["plain", "pipelining"])
@pytest.mark.parametrize(
    ("fault", "phase", "verdicts", "resets"),
    [
        (greylist("anna", None), Phase.DOT, ["accepted", "deferred"], 0),
        (refuse("jm"), Phase.DOT, ["refused", "accepted"], 0),
        (say("452 4.5.3 enough", "rcpt", "anna"), Phase.DOT, ["accepted", "too many"], 0),
        (say("550 5.1.1 nobody", "rcpt"), None, ["refused", "refused"], 1),
        (say("550 5.7.1 not you", "mail"), None, ["refused", "refused"], 1),
        (say("451 4.7.1 later", "mail"), None, ["deferred", "deferred"], 1),
        (say("554 5.7.1 no", "data"), Phase.DATA, ["refused", "refused"], 1),
        (say("451 4.3.0 no", "data"), Phase.DATA, ["deferred", "deferred"], 1),
        (say("554 5.7.1 spam", "dot"), Phase.DOT, ["refused", "refused"], 0),
        (say("451 4.3.0 later", "dot"), Phase.DOT, ["deferred", "deferred"], 0),
    ],
    ids=[
        "one greylisted",
        "one refused",
        "one too many",
        "all refused",
        "MAIL refused",
        "MAIL deferred",
        "DATA refused",
        "DATA deferred",
        "refused",
        "deferred",
    ],
)
async def test_after_a_refusal_the_session_is_good_for_the_next_message(
    serving, fault, phase, verdicts, resets, extensions
):
    async with serving(fault, extensions=extensions) as (server, session):
        transcript = await session.transact(TWO, MESSAGE)
        outcome = classify(transcript, 2)
        assert [judgement.verdict for judgement in outcome.judgements] == verdicts
        assert (outcome.relay_fault, transcript.failure) == (None, None)
        if phase:
            assert transcript.phase is phase
        assert server.state.commands.count("RSET") == resets
        assert session.usable
        server.state.options.faults.clear()
        assert (await session.transact(TWO, MESSAGE)).final.positive
        assert server.state.received[-1].recipients == tuple(TWO.recipients)


async def test_a_server_that_takes_data_for_nobody_gets_none(talking):
    """RFC 2920, section 3.1: the client ends the message at once."""
    said = []

    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n550 no\r\n550 no\r\n354 go\r\n")
        said.append(await reader.readuntil(b"\r\n"))
        writer.write(b"554 no recipients\r\n")
        await reader.read()

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(TWO, MESSAGE)
        assert session.usable
    assert said == [b".\r\n"]
    assert [j.verdict for j in classify(transcript, 2).judgements] == [Verdict.REFUSED] * 2


@pytest.mark.parametrize("extensions", [(), PIPELINING], ids=["plain", "pipelining"])
@pytest.mark.parametrize(
    ("at", "code"), [("mail", 550), ("mail", 451), ("data", 554), ("dot", 552)]
)
async def test_a_refusal_counts_although_the_server_hangs_up_then(serving, at, code, extensions):
    fault = Fault(at, Action.REPLY_AND_CLOSE, f"{code} no")
    async with serving(fault, extensions=extensions) as (_, session):
        outcome = classify(await session.transact(ONE, MESSAGE), 1)
        assert not session.usable or at == "dot"
    assert outcome.relay_fault is None
    assert outcome.decisive.code == code


# drops, hangs, 421


@pytest.mark.parametrize("extensions", [(), PIPELINING], ids=["plain", "pipelining"])
@pytest.mark.parametrize("kind", ["close", "hang", "421"])
@pytest.mark.parametrize(
    ("at", "phase", "known"),
    [
        ("mail", Phase.MAIL, []),
        ("rcpt", Phase.RCPT, [250]),
        ("data", Phase.RCPT, [250, 250, 250]),
        ("dot", Phase.DOT, [250, 250, 250, 354]),
    ],
)
async def test_each_fault_in_each_phase_is_told_as_it_was(
    serving, at, phase, known, kind, extensions
):
    fault = {
        "close": hang_up_once(at=at),
        "hang": hang(at, "anna" if at == "rcpt" else ""),
        "421": go_away(at),
    }[kind]
    if at == "rcpt":
        known = [250, 250] if kind == "hang" else [250]
    async with serving(fault, extensions=extensions, timeouts=IMPATIENT) as (_, session):
        transcript = await session.transact(TWO, MESSAGE)
        assert not session.usable
    replied = [code for code in codes(transcript) if code]
    if kind == "421":
        assert replied == [*known, 421]
        assert classify(transcript, 2).relay_fault.startswith("421")
    else:
        assert replied == known
        assert transcript.phase is phase
        assert transcript.failure == (
            "the server closed the connection" if kind == "close" else "no reply within 0.05 s"
        )
        assert (classify(transcript, 2).relay_fault is None) is (at == "dot")


async def test_a_lost_reply_after_the_dot_is_an_unknown_outcome(serving):
    async with serving(lose_reply()) as (server, session):
        transcript = await session.transact(ONE, MESSAGE)
    assert server.state.count == 1
    assert (transcript.phase, transcript.final) == (Phase.DOT, None)
    (judgement,) = classify(transcript, 1).judgements
    assert judgement.verdict is Verdict.UNKNOWN
    assert "perhaps it was delivered" in judgement.reply


async def test_a_slow_server_is_waited_for(serving):
    async with serving(slow(0.05, "rcpt"), slow(0.05)) as (_server, session):
        assert (await session.transact(TWO, MESSAGE)).final.positive


async def test_a_reset_without_answer_spoils_the_session_but_not_the_verdict(talking):
    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n550 5.1.1 no\r\n503 none\r\n")
        await reader.readuntil(b"RSET\r\n")

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(ONE, MESSAGE)
        assert not session.usable
    outcome = classify(transcript, 1)
    assert (outcome.relay_fault, outcome.decisive.code) == (None, 550)


async def test_a_server_that_stops_reading_is_given_up(talking):
    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.transport.pause_reading()
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await asyncio.Event().wait()

    async with talking(serve, "PIPELINING", timeouts=Timeouts(20, 20, 0.1, 20)) as session:
        transcript = await session.transact(ONE, MESSAGE + b"x" * 20_000_000 + b"\r\n")
        assert not session.usable
    assert transcript.phase is Phase.DATA
    assert transcript.failure == "the server took no data for 0.1 s"
    assert classify(transcript, 1).relay_fault


@pytest.mark.parametrize("closes", [False, True], ids=["goes on", "hangs up"])
async def test_a_refusal_in_the_middle_of_the_message_is_one_of_the_message(talking, closes):
    """Too large for the server's taste: no reason to pause the relay, and to come again."""

    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await reader.read(1000)
        writer.transport.pause_reading()
        writer.write(b"552 5.3.4 too large\r\n")
        if not closes:
            await asyncio.Event().wait()
        await writer.drain()
        writer.write_eof()
        await asyncio.Event().wait()

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(ONE, MESSAGE + b"x" * 20_000_000 + b"\r\n")
        assert not session.usable
    assert transcript.phase is Phase.DATA
    outcome = classify(transcript, 1)
    assert [judgement.verdict for judgement in outcome.judgements] == [Verdict.REFUSED]
    assert outcome.relay_fault is None


async def test_a_message_accepted_before_its_end_was_not_accepted(talking):
    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await reader.read(1000)
        writer.transport.pause_reading()
        writer.write(b"250 2.0.0 whatever it is\r\n")
        await asyncio.Event().wait()

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(ONE, MESSAGE + b"x" * 20_000_000 + b"\r\n")
    assert (transcript.phase, transcript.final) == (Phase.DATA, None)
    assert classify(transcript, 1).relay_fault


# garbage


@pytest.mark.parametrize("extensions", [(), PIPELINING], ids=["plain", "pipelining"])
@pytest.mark.parametrize("at", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize(
    "garbage",
    ["hello", "", "999 no", "25", "250 " + "x" * 5000, "\r\n".join(["250-x"] * 101)],
    ids=["text", "nothing", "code", "short code", "long line", "many lines"],
)
async def test_garbage_ends_the_session(serving, at, garbage, extensions):
    fault = say(garbage, at) if garbage else say("\r\n250 ok", at)
    async with serving(fault, extensions=extensions) as (_, session):
        transcript = await session.transact(ONE, MESSAGE)
        assert not session.usable
    assert transcript.failure
    outcome = classify(transcript, 1)
    assert outcome.judgements[0].verdict in {Verdict.UNTRIED, Verdict.UNKNOWN}
    assert (outcome.relay_fault is None) is (at == "dot")


@pytest.mark.parametrize("piece", [b"x" * 65536, b"250-x\r\n" * 1000, b"250 x\r\n" * 1000])
@pytest.mark.parametrize("asked", [True, False], ids=["in a transaction", "idle"])
async def test_a_reply_without_end_is_bounded(talking, piece, asked):
    sent = 0

    async def serve(reader, writer):
        nonlocal sent
        await take_one(reader, writer)
        if asked:
            await reader.readuntil(b"DATA\r\n")
        while sent < 100_000_000:
            writer.write(piece)
            sent += len(piece)
            await writer.drain()

    async with talking(serve, "PIPELINING") as session:
        assert (await session.transact(ONE, MESSAGE)).final.positive
        if asked:
            await session.transact(ONE, MESSAGE)
        else:
            while session.usable:
                await asyncio.sleep(0)
        assert not session._channel.awaits_answers
    assert not session.usable
    assert sent < 50_000_000


@pytest.mark.parametrize(
    ("answers", "accepted"),
    [
        ((b"250 ok\r\n250 ok\r\n250 ok\r\n",), False),
        ((b"354 ok\r\n250 ok\r\n354 go\r\n",), False),
        ((b"250 ok\r\n354 ok\r\n354 go\r\n",), False),
        ((b"250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",), False),
        ((b"250 ok\r\n250 ok\r\n354 go\r\n", b"354 go\r\n"), False),
        ((b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n"), True),
        ((b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\nnonsense\r\n"), True),
        ((b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n421 bye\r\n"), True),
    ],
    ids=[
        "2yz to DATA",
        "3yz to MAIL",
        "3yz to RCPT",
        "250 before the message",
        "3yz to the dot",
        "one reply more",
        "garbage behind the 250",
        "421 behind the 250",
    ],
)
async def test_replies_out_of_step_end_the_session_and_accept_nothing(talking, answers, accepted):
    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(answers[0])
        if len(answers) > 1:
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(answers[1])
        await reader.read()

    async with talking(serve, "PIPELINING") as session:
        transcript = await session.transact(ONE, MESSAGE)
        assert not session.usable
    (judgement,) = classify(transcript, 1).judgements
    assert (judgement.verdict is Verdict.ACCEPTED) is accepted


# the end


async def test_an_idle_session_that_the_server_closed_is_not_usable(serving):
    async with serving() as (server, session):
        await session.transact(ONE, MESSAGE)
        assert session.usable
        for client in list(server.state.clients):
            client.close()
        while session.failure is None:
            await asyncio.sleep(0)
        assert session.failure == "the server closed the connection"
        assert not session.usable


async def test_an_idle_session_that_was_told_to_go_is_not_usable(talking):
    async def serve(reader, writer):
        await take_one(reader, writer)
        writer.write(b"421 4.4.2 idle for too long\r\n")
        await reader.read()

    async with talking(serve, "PIPELINING") as session:
        assert (await session.transact(ONE, MESSAGE)).final.positive
        while session.usable:
            await asyncio.sleep(0)
        assert "421 4.4.2 idle for too long" in session.failure


@pytest.mark.parametrize("last", [b"", b"421 4.7.0 enough messages\r\n"], ids=["closed", "421"])
@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
async def test_a_warm_session_that_the_server_is_through_with_was_dead(talking, before, last):
    """On a new session the same is a fault of the relay."""

    async def serve(reader, writer):
        for _ in range(before):
            await take_one(reader, writer)
        await reader.readuntil(b"DATA\r\n")
        writer.write(last)

    async with talking(serve, "PIPELINING") as session:
        for _ in range(before):
            assert not session.was_dead(await session.transact(ONE, MESSAGE))
        transcript = await session.transact(ONE, MESSAGE)
        assert session.was_dead(transcript) is bool(before)


@pytest.mark.parametrize("fault", [hang_up_once(at="dot"), hang_up_once(at="data"), refuse("jm")])
async def test_a_session_that_heard_of_the_message_was_not_dead(serving, fault):
    async with serving() as (server, session):
        await session.transact(ONE, MESSAGE)
        server.state.options.faults.append(fault)
        assert not session.was_dead(await session.transact(ONE, MESSAGE))


@pytest.mark.parametrize("at", ["mail", "rcpt", "data", "dot"])
async def test_a_canceled_transaction_takes_its_session_along(serving, at):
    """Else the next message's MAIL would become a part of this one's data."""
    async with serving(hang(at)) as (server, session):
        task = asyncio.create_task(session.transact(ONE, MESSAGE))
        while not server.state.options.faults[0].happened:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not session.usable


async def test_nothing_is_written_to_a_session_that_has_ended(serving):
    async with serving() as (server, session):
        session.close()
        transcript = await session.transact(ONE, MESSAGE)
        assert (transcript.phase, transcript.failure) == (Phase.MAIL, "closed")
        assert server.state.commands == []


async def test_a_connection_that_ends_right_after_the_go_ahead_is_no_fault_of_the_message(talking):
    """uvloop raises for what is written then; that would have failed the email for good."""

    async def serve(reader, writer):
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")

    for _ in range(20):
        async with talking(serve, "PIPELINING") as session:
            transcript = await session.transact(ONE, MESSAGE)
        assert transcript.phase in {Phase.DATA, Phase.DOT}
        assert transcript.failure


async def test_quitting_is_polite(serving):
    async with serving() as (server, session):
        await session.quit()
        assert server.state.commands == ["QUIT"]
        await session.quit()
        assert server.state.commands == ["QUIT"]
