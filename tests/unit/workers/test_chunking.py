"""CHUNKING (RFC 3030): one write and one round trip for a message, wherever that is safe."""

import asyncio

import pytest

from workers.outcomes.outcome import Verdict, classify
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope, Phase

MESSAGE = b"Message-ID: <m@example.com>\r\nSubject: hi\r\n\r\n.\r\n..two\r\n"
ONE = Envelope("from@example.com", ["jm@example.org"])
TWO = Envelope("from@example.com", ["jm@example.org", "anna@example.net"])
BOTH = ("PIPELINING", "CHUNKING", "8BITMIME")


class ChunkingServer:
    """Answers all that has come with one write, as servers do; counts these turns.

    Attributes:
        messages: that it took, and in how many turns each.
        said: the commands, by name.
        answers: a reply for the next commands that begin with these words, instead of the usual;
            None hangs up.
    """

    def __init__(self):
        self.messages = []
        self.said = []
        self.answers = {}
        self.turns = 0

    async def serve(self, reader, writer):
        pending, content = b"", b""
        while data := await reader.read(1_000_000):
            pending += data
            replies = b""
            while b"\r\n" in pending:
                line, _, rest = pending.partition(b"\r\n")
                verb, *words = line.split()
                if verb == b"BDAT":
                    size = int(words[0])
                    if len(rest) < size:
                        break
                    chunk, rest = rest[:size], rest[size:]
                pending = rest
                self.said.append(verb.decode())
                answer = self._answer(line)
                if answer is None:
                    writer.write(replies)
                    await writer.drain()
                    return
                replies += answer
                if verb == b"MAIL":
                    self.turns, content = 0, b""
                elif verb == b"BDAT" and answer.startswith(b"250"):
                    content += chunk
                    if words[-1] == b"LAST":
                        self.messages.append((content, self.turns + 1))
            if replies:
                self.turns += 1
                writer.write(replies)

    def _answer(self, line):
        for words in [words for words in self.answers if line.startswith(words)]:
            return self.answers.pop(words)
        return b"250 2.0.0 ok\r\n"


@pytest.fixture
def server():
    return ChunkingServer()


def verdicts(transcript, recipients=1):
    return [judgement.verdict for judgement in classify(transcript, recipients).judgements]


async def test_the_first_message_takes_two_round_trips_and_the_others_one(talking, server):
    async with talking(server.serve, *BOTH) as session:
        for _ in range(5):
            transcript = await session.transact(TWO, MESSAGE)
            assert transcript.final.positive
            assert transcript.phase is Phase.DOT
    assert server.messages == [(MESSAGE, 2), *[(MESSAGE, 1)] * 4]
    assert server.said[:5] == ["MAIL", "RCPT", "RCPT", "BDAT", "BDAT"]
    assert server.said.count("RSET") == 1  # behind the second one: see Session


async def test_octets_are_sent_as_they_are(talking, server):
    """No dots are doubled: the size says where the message ends."""
    message = b"Subject: x\r\n" + b"\r\n.\r\n" * 1000 + b"MAIL FROM:<x>\r\n.\r\n"
    async with talking(server.serve, *BOTH) as session:
        await session.transact(ONE, message)
        await session.transact(ONE, message)
    assert [content for content, _ in server.messages] == [message, message]


@pytest.mark.parametrize("warm", [False, True], ids=["first", "later"])
@pytest.mark.parametrize(
    ("words", "answer", "phase", "expected"),
    [
        (b"MAIL", b"451 4.7.1 later\r\n", Phase.MAIL, Verdict.DEFERRED),
        (b"MAIL", b"550 5.7.1 not you\r\n", Phase.MAIL, Verdict.REFUSED),
        (b"RCPT", b"550 5.1.1 nobody\r\n", Phase.RCPT, Verdict.REFUSED),
        (b"RCPT", b"450 4.7.1 greylisted\r\n", Phase.RCPT, Verdict.DEFERRED),
    ],
)
async def test_after_a_refusal_the_session_goes_on(
    talking, server, words, answer, phase, expected, warm
):
    """What was pipelined behind it is refused as well, and says nothing of the recipient."""
    async with talking(server.serve, *BOTH) as session:
        if warm:
            await session.transact(ONE, MESSAGE)
        server.answers = {words: answer, b"BDAT": b"503 5.5.1 no transaction\r\n"}
        if words == b"MAIL":
            server.answers[b"RCPT"] = b"503 5.5.1 MAIL first\r\n"
        transcript = await session.transact(ONE, MESSAGE)
        assert transcript.phase is phase
        assert verdicts(transcript) == [expected]
        assert server.said[-1] == "RSET"
        assert session.usable
        assert (await session.transact(ONE, MESSAGE)).final.positive
    assert len(server.messages) == 1 + warm


@pytest.mark.parametrize("warm", [False, True], ids=["first", "later"])
async def test_one_refused_recipient_does_not_hold_the_others_up(talking, server, warm):
    async with talking(server.serve, *BOTH) as session:
        if warm:
            await session.transact(ONE, MESSAGE)
        server.answers = {b"RCPT TO:<jm": b"550 5.1.1 nobody\r\n"}
        transcript = await session.transact(TWO, MESSAGE)
        assert verdicts(transcript, 2) == [Verdict.REFUSED, Verdict.ACCEPTED]
        assert session.usable


@pytest.mark.parametrize("code", [554, 452])
async def test_a_refused_message_is_refused(talking, server, code):
    async with talking(server.serve, *BOTH) as session:
        await session.transact(ONE, MESSAGE)
        server.answers = {b"BDAT": b"%d 5.7.1 spam\r\n" % code}
        transcript = await session.transact(ONE, MESSAGE)
        assert (transcript.phase, transcript.final.code) == (Phase.DOT, code)
        assert server.said[-1] == "RSET", "RFC 3030, 2: nothing else ends the transaction"
        assert session.usable


@pytest.mark.parametrize("lie", [b"500 5.5.1 what\r\n", b"502 5.5.2 not here\r\n"])
async def test_a_server_that_does_not_know_bdat_sees_one_line_of_a_header(talking, lie):
    """The message can't be read as commands. It goes by DATA on another session."""
    said = []

    async def serve(reader, writer):
        said.append(await reader.readuntil(b"BDAT 29\r\n"))
        said.append(await reader.readuntil(b"\r\n"))
        writer.write(b"250 ok\r\n250 ok\r\n" + lie + b"500 5.5.1 what\r\n")
        said.append(await reader.read())  # nothing, or that the connection is lost

    async with talking(serve, *BOTH) as session:
        transcript = await session.transact(ONE, MESSAGE)
        assert session.unfit == {"chunking"}
        assert not session.usable
        assert session.was_dead(transcript)
    assert said[1] == b"Message-ID: <m@example.com>\r\n"
    assert said[2:] in ([], [b""])


async def test_what_begins_with_no_header_goes_by_data(talking):
    said = []

    async def serve(reader, writer):
        said.append(await reader.readuntil(b"DATA\r\n"))

    for message in (b"MAIL FROM:<x>\r\n", b"\r\nhi\r\n", b"QUIT\r\nhi\r\n"):
        async with talking(serve, *BOTH) as session:
            await session.transact(ONE, message)
    assert len(said) == 3


async def test_a_refusal_of_the_first_chunk_is_one_of_the_message(talking, server):
    """Not what a server that does not know BDAT says."""
    server.answers = {b"BDAT": b"452 4.3.1 no room\r\n"}
    async with talking(server.serve, *BOTH) as session:
        transcript = await session.transact(ONE, MESSAGE)
        assert verdicts(transcript) == [Verdict.DEFERRED]
        assert "chunking" in session.extensions
        assert (await session.transact(ONE, MESSAGE)).final.positive


@pytest.mark.parametrize("extensions", [("CHUNKING",), ("PIPELINING",), ()], ids=str)
async def test_bdat_is_for_servers_that_pipeline_too(talking, extensions):
    said = []

    async def serve(reader, writer):
        while line := await reader.readline():
            said.append(line)
            writer.write(b"554 no\r\n")

    async with talking(serve, *extensions) as session:
        await session.transact(ONE, MESSAGE)
    assert not any(line.startswith(b"BDAT") for line in said)


async def test_a_large_message_waits_for_the_replies_to_its_recipients(talking):
    """65 KB are wasted if all recipients are refused; 20 MB would be a pity."""
    said = []

    async def serve(reader, writer):
        said.append(await reader.readuntil(b"DATA\r\n"))
        writer.write(b"250 ok\r\n550 no\r\n554 none\r\n")
        said.append(await reader.readuntil(b"RSET\r\n"))
        writer.write(b"250 ok\r\n")

    async with talking(serve, *BOTH) as session:
        transcript = await session.transact(ONE, b"X: y\r\n" + b"x" * 70_000 + b"\r\n")
    assert verdicts(transcript) == [Verdict.REFUSED]
    assert said[1] == b"RSET\r\n"


@pytest.mark.parametrize("reading", ["the reply is lost", "nothing was read"])
async def test_a_connection_that_ends_leaves_the_outcome_unknown(talking, server, reading):
    """All was written in one go: it is not known what of it was read."""
    async with talking(server.serve, *BOTH) as session:
        await session.transact(ONE, MESSAGE)
        server.answers = {b"BDAT" if reading == "the reply is lost" else b"MAIL": None}
        transcript = await session.transact(ONE, MESSAGE)
        assert not session.usable
        assert not session.was_dead(transcript)
    assert (transcript.phase, transcript.final) == (Phase.DOT, None)
    outcome = classify(transcript, 1)
    assert "perhaps it was delivered" in outcome.reason
    assert outcome.relay_fault is None


async def test_a_session_that_was_silent_for_a_while_is_not_trusted_with_all_at_once(
    talking, server, monkeypatch
):
    """The server may have closed it: the first words show that, with nothing lost."""
    monkeypatch.setattr("workers.smtp.by_chunks._FRESH", 0.05)
    async with talking(server.serve, *BOTH) as session:
        await session.transact(ONE, MESSAGE)
        async with asyncio.timeout(5):
            while session._channel.silence <= 0.05:
                await asyncio.sleep(0.01)
        server.answers = {b"MAIL": None}
        transcript = await session.transact(ONE, MESSAGE)
        assert session.was_dead(transcript)
    assert server.said[-1] == "MAIL"


async def test_without_an_answer_to_the_message_it_is_given_up(talking, server):
    timeouts = Timeouts(command=20, data=20, block=20, final=0.1)
    async with talking(server.serve, *BOTH, timeouts=timeouts) as session:
        await session.transact(ONE, MESSAGE)
        await session.transact(ONE, MESSAGE)
        server.answers = {b"BDAT": b""}
        transcript = await session.transact(ONE, MESSAGE)
    assert transcript.phase is Phase.DOT
    assert transcript.failure == "no reply within 0.1 s"


async def test_an_early_421_is_a_fault_of_the_relay_and_not_an_unknown_outcome(talking, server):
    async with talking(server.serve, *BOTH) as session:
        await session.transact(ONE, MESSAGE)
        server.answers = {b"MAIL": b"421 4.3.2 shutting down\r\n"}
        server.answers[b"RCPT"] = None
        transcript = await session.transact(ONE, MESSAGE)
        assert session.was_dead(transcript), "so that it is sent by another at once"
    assert transcript.phase is Phase.MAIL
