"""Orders, where sessions break off: what may have arrived is in doubt, and nothing else is."""

import asyncio
import random
from collections import Counter

import attrs
import pytest
from in_line import CHUNKS, LIMIT, PLAIN, TURNS, Mail, each_place, each_way, mails, names, until

from mailer.testing import Action, Fault, go_away, hang, say, slow
from workers.outcomes.outcome import Verdict
from workers.smtp.connector import RelayFault

ACCEPTED, DEFERRED, REFUSED = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.REFUSED
UNKNOWN, UNTRIED = Verdict.UNKNOWN, Verdict.UNTRIED


@each_way
@each_place
@pytest.mark.parametrize("at", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("action", [Action.CLOSE, Action.LOSE_REPLY])
async def test_where_a_connection_is_lost_only_what_may_have_arrived_is_in_doubt(
    in_line, way, place, at, action
):
    if at == "data" and way is CHUNKS:
        pytest.skip("there is no DATA")
    fault = Fault(at, action, match=f"-m-{place}@", times=1)
    async with in_line(fault, way=way, connections=way.alone) as line:
        told = await line.many(LIMIT, "m")
        arrived = line.arrived
    expected = [ACCEPTED] * LIMIT
    if way is CHUNKS:  # all was said at once
        expected[place:] = [UNKNOWN] * (LIMIT - place)
    elif at == "dot":
        expected[place] = UNKNOWN
    elif at != "mail":  # where it had not heard of the message, that goes again
        expected[place] = UNTRIED
    assert told == expected
    account(dict(zip(names(LIMIT, "m"), told, strict=True)), arrived)
    assert (f"m-{place}" in arrived) is (action is Action.LOSE_REPLY and at == "dot") or (
        told[place] is ACCEPTED
    )


@each_way
@each_place
@pytest.mark.parametrize("at", ["mail", "rcpt", "data", "dot"])
async def test_what_comes_behind_a_421_goes_at_once_over_another_connection(
    in_line, way, place, at
):
    """And so does what was told so at MAIL; what came further is judged by its own reply."""
    if at == "data" and way is CHUNKS:
        pytest.skip("there is no DATA")
    fault = attrs.evolve(go_away(at, times=1), match=f"-m-{place}@")
    async with in_line(fault, way=way, connections=way.alone) as line:
        told = await line.many(LIMIT, "m")
        account(dict(zip(names(LIMIT, "m"), told, strict=True)), line.arrived)
    assert told.pop(place) is (ACCEPTED if at == "mail" else UNTRIED)
    assert set(told) == {ACCEPTED}


@pytest.mark.parametrize("way", [TURNS, PLAIN], ids=[TURNS.name, PLAIN.name])
async def test_what_goes_again_keeps_its_place_in_line(in_line, way):
    fault = Fault("mail", Action.CLOSE, match="-m-2@", times=1)
    async with in_line(fault, way=way, connections=1) as line:
        assert await line.many(9, "m") == [ACCEPTED] * 9
        assert line.arrived == names(9, "m")


@each_way
async def test_a_server_that_said_421_and_stays_is_not_waited_for(in_line, way, monkeypatch):
    monkeypatch.setattr("workers.smtp.channel._GOODBYE", 0.1)
    # which is what comes next
    silent = hang("mail", match="-m-2@", times=1) if way is CHUNKS else hang("rset", times=1)
    farewell = say("421 4.3.2 Closing", "mail", match="-m-1@", times=1)
    async with in_line(farewell, silent, way=way, connections=way.alone) as line:
        assert await line.many(LIMIT, "m") == [ACCEPTED] * LIMIT
        assert sorted(line.arrived) == names(LIMIT, "m")
        assert silent.happened


@each_way
async def test_what_was_said_behind_a_lost_first_message_of_a_session_goes_over_another(
    in_line, way
):
    fault = Fault("dot", Action.CLOSE, match="-m-0@", times=1)
    async with in_line(fault, way=way, warm=False, connections=1) as line:
        assert await line.many(4, "m") == [UNKNOWN, *[ACCEPTED] * 3]
        assert sorted(line.arrived) == names(4, "m")[1:]
        assert line.server.state.connections == 2


@each_way
async def test_where_no_session_can_be_had_one_order_learns_of_it_before_another_begins(
    in_line, way
):
    steps = []

    class Noted(Mail):
        def begin(self):
            steps.append(f"begin {self.name}")

        async def judge(self, said):
            for _ in range(5):
                await asyncio.sleep(0)
            steps.append(f"judge {self.name}")
            return await super().judge(said)

    async with in_line(go_away("connect", times=2), way=way, warm=False, connections=1) as line:
        told = await line.send(*(Noted(name) for name in names(3, "m")))
        assert line.arrived == ["m-2"]
    assert [type(one) for one in told[:2]] == [RelayFault] * 2
    assert told[2] is ACCEPTED
    assert steps == [f"{step} {name}" for name in names(3, "m") for step in ("begin", "judge")]


# late answers


async def other(line):
    """One more who wants a seat, as messages do that need something of their own."""
    async with line.pool.seat(1):
        return


@each_way
async def test_what_was_built_behind_a_message_that_hangs_is_sent_by_others(in_line, way):
    """Once others have its turn; it is waited for all the same."""
    fault = slow(0.5, match="-m-1@")
    async with in_line(fault, way=way, connections=1, late=5, late_seconds=0.0) as line:
        sending = [asyncio.create_task(line.send(mail)) for mail in mails(10, "m")]
        await until(lambda: line.server.state.options.faults[0].happened)
        waits = asyncio.create_task(other(line))
        await line.set_aside()
        await waits
        others = sending[:1] + sending[2:]
        assert set(map(tuple, await asyncio.gather(*others))) == {(ACCEPTED,)}
        assert not sending[1].done()
        assert await asyncio.gather(*sending) == [[ACCEPTED]] * 10
        assert sorted(line.arrived) == sorted(names(10, "m"))


@each_way
@pytest.mark.parametrize("connections", [1, LIMIT])
async def test_a_message_that_hangs_does_not_hold_up_what_waits_in_line(in_line, way, connections):
    """Though nobody else wants a seat."""
    fault = hang("dot", match="-m-")
    async with in_line(
        fault, way=way, connections=connections, late=2 * LIMIT, late_seconds=0.0
    ) as line:
        stuck = asyncio.create_task(line.many(connections, "m"))
        await until(lambda: line.written >= connections)
        waiting = asyncio.create_task(line.many(20, "n"))
        await line.set_aside()
        assert await waiting == [ACCEPTED] * 20
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)


async def test_a_relay_that_is_slow_keeps_its_session(in_line):
    """What is ahead may go to others, but for what was announced to it already."""
    async with in_line(slow(0.03, match="-m-"), way=TURNS, connections=1) as line:
        sending = asyncio.create_task(line.many(8, "m"))
        while not sending.done():
            line.pool.tidy()
            await asyncio.sleep(0.005)
        assert await sending == [ACCEPTED] * 8
        assert {message.connection for message in line.server.state.received} == {1}


# all together


def account(told, arrived):
    """Compare what was said of each message with what came of it."""
    came = Counter(arrived)
    assert came.keys() <= told.keys()
    for name, said in told.items():
        possible = {ACCEPTED: {1}, UNKNOWN: {0, 1}}.get(said, {0})
        assert came[name] in possible, (name, said)


def random_faults(chance, number):
    """Make something go wrong with some of so many messages, each once; by name."""
    faults = {}
    for name in chance.sample(names(number, "m"), number // 8):
        match = f"-{name}@"
        at = chance.choice(["mail", "rcpt", "data", "dot"])
        faults[name] = chance.choice(
            [
                Fault(at, Action.CLOSE, match=match, times=1),
                Fault(at, Action.LOSE_REPLY, match=match, times=1),
                attrs.evolve(go_away(at, times=1), match=match),
                say("451 4.3.0 later", at, match=match),
                say("550 5.7.1 no", at, match=match),
                say("555 5.5.4 SIZE?", "mail", match=match, times=1),
                slow(0.01, at, match=match),
            ]
        )
    return faults


@each_way
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_of_messages_with_whom_anything_goes_wrong_each_is_accounted_for(in_line, way, seed):
    chance = random.Random(seed)
    faults = random_faults(chance, 500)
    async with in_line(go_away("connect", times=2), *faults.values(), way=way) as line:
        sending = {}
        for name in names(500, "m"):
            body = b"x" * 998 if chance.random() < 0.98 else b"\r\n".join([b"x" * 998] * 80)
            sending[name] = asyncio.create_task(line.send(Mail(name, body)))
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        told = {name: (await task)[0] for name, task in sending.items()}
        account(told, line.arrived)
        assert line.server.state.open_at_most <= 2 * LIMIT
    usual = {ACCEPTED, UNKNOWN} if way is CHUNKS else {ACCEPTED}
    unusual = [name for name in told if told[name] not in usual and name not in faults]
    assert len(unusual) <= 2, "where a connection could not be had"
    assert all(isinstance(told[name], RelayFault) for name in unusual)
    refused = {name for name, said in told.items() if said in {REFUSED, DEFERRED}}
    assert refused
    assert all(name in faults and faults[name].reply[:1] in {"4", "5"} for name in refused)
