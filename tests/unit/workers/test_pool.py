import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme

from mailer.testing import (
    Action,
    Fault,
    Options,
    SmtpServer,
    go_away,
    hang,
    hang_up_once,
    say,
    slow,
)
from workers.relays.relay import Tls
from workers.smtp.connector import RelayFault
from workers.smtp.lateness import LEAST
from workers.smtp.pool import Pool
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope, Phase

MESSAGE = b"Message-ID: <m@example.com>\r\nSubject: hi\r\n\r\nHello\r\n"
ENVELOPE = Envelope("from@example.com", ["jm@example.org"])
BY_DATA = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 52428800")
USER, SECRET = "user", "s3cr3t"
REQUIRED, IMPLICIT, OPPORTUNISTIC, OFF = Tls.REQUIRED, Tls.IMPLICIT, Tls.OPPORTUNISTIC, Tls.OFF


@pytest.fixture
def pooled(connector):
    """Runs a server and a pool of sessions with it."""

    @asynccontextmanager
    async def run(*faults, limit=3, late=0, idle_seconds=30.0, late_seconds=LEAST, **options):
        options = Options(faults=list(faults), extensions=BY_DATA, **options)
        async with SmtpServer(options) as server:
            connect = connector(server.port, connections=limit, late_connections=late)
            pool = Pool(connect, idle_seconds=idle_seconds, late_seconds=late_seconds)
            try:
                yield server, pool
            finally:
                await pool.close()

    return run


async def send(pool, urgency=1):
    """Deliver as the workers do."""

    async def build(extensions):
        return ENVELOPE, [MESSAGE]

    async with pool.seat(urgency) as seat:
        return await seat.transact(build, check=lambda: None, look=lambda: None)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


# seats


async def test_many_emails_share_few_connections(pooled):
    async with pooled(limit=3) as (server, pool):
        transcripts = await asyncio.gather(*(send(pool) for _ in range(500)))
    assert all(transcript.final.positive for transcript in transcripts)
    assert server.state.count == 500
    assert server.state.connections <= 3


async def test_no_more_sessions_than_allowed_are_ever_open(pooled):
    faults = [say("550 no", "rcpt", times=20), hang_up_once(at="dot"), go_away("mail", times=3)]
    async with pooled(*faults, limit=3) as (server, pool):
        await asyncio.gather(*(send(pool) for _ in range(100)))
    # one that the server has not seen close yet may overlap with the one in its place
    assert server.state.open_at_most <= 4


async def test_one_email_needs_one_connection_and_the_next_one_none(pooled):
    async with pooled() as (server, pool):
        for _ in range(10):
            await send(pool)
    assert server.state.connections == 1


async def test_who_waits_is_served_by_urgency_and_then_in_order(pooled):
    served = []

    async def take(name, urgency):
        async with pool.seat(urgency):
            served.append(name)

    async with pooled(limit=1) as (_, pool):
        async with pool.seat(0):
            names = [("low 1", 2), ("normal 1", 1), ("low 2", 2), ("high 1", 0), ("normal 2", 1)]
            tasks = [asyncio.create_task(take(*name)) for name in [*names, ("high 2", 0)]]
            await until(lambda: len(pool.seats._waiting) == 6)
        await asyncio.gather(*tasks)
    assert served == ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]


async def test_a_newcomer_does_not_overtake_those_who_wait(pooled):
    served = []

    async def take(name):
        async with pool.seat(1):
            served.append(name)

    async with pooled(limit=1) as (_, pool):
        async with pool.seat(1):
            first = asyncio.create_task(take("first"))
            await until(lambda: pool.seats.wanted)
        await take("second")
        await first
    assert served == ["first", "second"]


@pytest.mark.parametrize("when", ["waiting", "called"])
async def test_a_waiter_that_is_canceled_leaves_its_seat_to_others(pooled, when):
    async with pooled(limit=1) as (_, pool):
        async with pool.seat(1):
            waiter = asyncio.create_task(send(pool))
            await until(lambda: pool.seats.wanted)
            if when == "waiting":
                waiter.cancel()
        waiter.cancel()  # its turn has come, and it does not know yet
        with pytest.raises(asyncio.CancelledError):
            await waiter
        async with asyncio.timeout(5):
            assert (await send(pool)).final.positive
        assert not pool.seats.taken


async def test_whatever_is_canceled_no_seat_gets_lost(pooled):
    async with pooled(limit=2) as (_, pool):
        for steps in range(40):
            tasks = [asyncio.create_task(send(pool)) for _ in range(6)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert not pool.seats.taken
        assert (await send(pool)).final.positive


async def test_a_seat_is_free_again_after_an_error(pooled):
    async def build(extensions):
        raise LookupError

    async with pooled(limit=1) as (_, pool):
        with pytest.raises(LookupError):
            async with pool.seat(1) as seat:
                await seat.transact(build, check=lambda: None, look=lambda: None)
        assert (await send(pool)).final.positive


async def test_a_delivery_canceled_in_mid_transaction_leaves_no_session_behind(pooled):
    async with pooled(hang("dot", times=1), limit=1) as (server, pool):
        task = asyncio.create_task(send(pool))
        await until(lambda: server.state.options.faults[0].happened)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await send(pool)).final.positive
    assert server.state.connections == 2
    assert [received.data for received in server.state.received] == [MESSAGE]


async def test_a_connecting_delivery_that_is_canceled_closes_its_connection(pooled):
    async with pooled(hang("ehlo", times=1), limit=1) as (server, pool):
        task = asyncio.create_task(send(pool))
        await until(lambda: server.state.options.faults[0].happened)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not server.state.clients)


# late answers


@pytest.fixture
def hanging(pooled):
    """Runs a pool all of whose sessions wait for an answer that does not come."""

    @asynccontextmanager
    async def run(*faults, limit=1, hung=1, late_seconds=0.0, **options):
        hangs = hang("dot", times=hung)
        options = {"limit": limit, "late": 1, "late_seconds": late_seconds, **options}
        async with pooled(hangs, *faults, **options) as (server, pool):
            tasks = [asyncio.create_task(send(pool)) for _ in range(hung)]
            await until(lambda: hangs.happened == hung)
            await until(lambda: all(seat.waits > late_seconds for seat in pool.seats.taken))
            try:
                yield server, pool, tasks
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert not pool.seats.taken
            assert not pool.seats.aside

    return run


async def test_a_message_that_is_never_answered_holds_up_no_other(hanging):
    async with hanging() as (server, pool, _):
        others = [asyncio.create_task(send(pool)) for _ in range(5)]
        await until(lambda: pool.seats.wanted)
        assert not server.state.count
        pool.tidy()
        assert all(transcript.final.positive for transcript in await asyncio.gather(*others))
        assert server.state.connections == 2


async def test_what_is_answered_late_is_sent_and_passes_no_seat_on(hanging):
    async with hanging() as (server, pool, tasks):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(send(pool))
            await until(lambda: pool.seats.wanted)
            pool.tidy()
            (client,) = [c for c in server.state.clients if c.get_protocol()._busy]
            client.write(b"250 2.0.0 at last\r\n")
            assert (await tasks[0]).final.positive
        assert not pool.seats.aside
        assert server.state.open_at_most == 2


async def test_nobody_is_set_aside_while_nobody_waits(hanging):
    async with hanging() as (_, pool, _):
        pool.tidy()
        assert (len(pool.seats.taken), len(pool.seats.aside)) == (1, 0)


@pytest.mark.parametrize(("late", "aside"), [(0, 0), (1, 1), (2, 2), (5, 2)])
async def test_while_others_are_answered_all_late_ones_are_set_aside_that_may_be(
    hanging, late, aside
):
    async with hanging(limit=3, hung=2, late=late, late_seconds=0.5) as (_, pool, _):
        async with pool.seat(1):
            other = asyncio.create_task(send(pool))
            await until(lambda: pool.seats.wanted)
            pool._lateness.answered(pool._now(), 0.0)
            pool.tidy()
            assert len(pool.seats.aside) == aside
            assert len(pool.seats.taken) == 3 - aside + min(aside, 1)
        assert (await other).final.positive


async def test_the_pool_learns_that_a_relay_answers_and_how_long_it_takes(pooled):
    async with pooled(slow(0.05), limit=1) as (_, pool):
        before = pool._now()
        await send(pool)
        assert pool._lateness._answered_at >= before + 0.04  # uvloop counts whole milliseconds
        assert pool._lateness._usual > 0


async def test_a_relay_that_takes_no_more_connections_is_asked_for_no_more(hanging):
    """Each refusal pauses the relay: as many as it has room for must do."""
    async with hanging(limit=1, late=5) as (server, pool, _):
        server.state.options.faults.append(go_away("connect"))
        other = asyncio.create_task(send(pool))
        await until(lambda: pool.seats.wanted)
        pool.tidy()
        with pytest.raises(RelayFault):
            await other
        next_one = asyncio.create_task(send(pool))
        await until(lambda: pool.seats.wanted)
        pool.tidy()
        assert pool.seats.wanted, "there is a seat less"
        pool._narrow_until = pool._now() - 1
        server.state.options.faults.pop()
        pool.tidy()
        assert (await next_one).final.positive


async def test_a_server_that_takes_a_message_slowly_is_not_late_with_its_answer(pooled):
    underway, reading = asyncio.Event(), asyncio.Event()

    async def pieces():
        yield b"Subject: hi\r\n\r\n"
        underway.set()
        await reading.wait()
        yield b"Hello\r\n"

    async def build(extensions):
        return ENVELOPE, [pieces]

    async def slowly(pool):
        async with pool.seat(1) as seat:
            return await seat.transact(build, check=lambda: None, look=lambda: None)

    async with pooled(limit=1, late=1, late_seconds=0.0) as (_, pool):
        task = asyncio.create_task(slowly(pool))
        await underway.wait()
        before = pool._now()
        await until(lambda: pool._now() > before)
        other = asyncio.create_task(send(pool))
        await until(lambda: pool.seats.wanted)
        pool.tidy()
        assert not pool.seats.aside
        reading.set()
        assert (await task).final.positive
        assert (await other).final.positive


# warm sessions


async def test_a_session_that_the_server_closed_meanwhile_is_replaced(pooled):
    async with pooled(limit=1) as (server, pool):
        for _ in range(5):
            assert (await send(pool)).final.positive
            for client in list(server.state.clients):
                client.close()
            await until(lambda: not server.state.clients)
        assert (server.state.count, server.state.connections) == (5, 5)


@pytest.mark.parametrize("at", ["mail"])
@pytest.mark.parametrize("kind", ["closed", "421"])
async def test_a_session_that_turns_out_to_be_dead_is_replaced_once(pooled, at, kind):
    fault = hang_up_once(at=at) if kind == "closed" else go_away(at, times=1)
    async with pooled(limit=1) as (server, pool):
        await send(pool)
        server.state.options.faults.append(fault)
        assert (await send(pool)).final.positive
    assert (server.state.count, server.state.connections) == (2, 2)


async def test_a_new_session_that_fails_is_not_tried_again(pooled):
    async with pooled(go_away("mail"), limit=1) as (server, pool):
        transcript = await send(pool)
        assert transcript.mail.code == 421
    assert server.state.connections == 1


async def test_idle_sessions_are_closed(pooled):
    async with pooled(limit=2, idle_seconds=-1.0) as (server, pool):
        await asyncio.gather(send(pool), send(pool))
        assert len(server.state.clients) == 2
        pool.close_idle()
        await until(lambda: not server.state.clients)
        assert pool.warm() is None


@pytest.mark.parametrize("when", ["before it is put back", "after it was put back"])
async def test_a_session_that_has_grown_old_is_replaced(pooled, when):
    async with pooled(limit=1) as (server, pool):
        async with pool.seat(1) as seat:
            session = seat._session = await pool.connect()
            if when.startswith("before"):
                session.born_at -= 600
        assert bool(pool._idle) is when.startswith("after")
        session.born_at -= 600
        assert (await send(pool)).final.positive
    assert server.state.connections == 2


async def test_a_session_ends_after_so_many_messages(connector):
    async with SmtpServer() as server:
        pool = Pool(connector(server.port, messages_per_connection=3), idle_seconds=30.0)
        for _ in range(7):
            await send(pool)
        await pool.close()
    assert server.state.connections == 3


async def test_sessions_are_kept_while_they_are_used(pooled):
    async with pooled(limit=2, idle_seconds=30.0) as (server, pool):
        await send(pool)
        pool.close_idle()
        await send(pool)
    assert server.state.connections == 1


async def test_the_session_used_last_is_used_first(pooled):
    """So that those beyond need become idle, and are closed."""
    async with pooled(limit=2) as (_server, pool):
        await asyncio.gather(send(pool), send(pool))
        last = pool._idle[-1][1]
        assert pool.warm() is last


async def test_closing_the_pool_says_goodbye(pooled):
    async with pooled(limit=2) as (server, pool):
        await asyncio.gather(send(pool), send(pool))
        server.state.commands = []
        await pool.close()
        assert server.state.commands == ["QUIT", "QUIT"]
        await until(lambda: not server.state.clients)


# connecting


async def test_a_relay_that_is_not_there_is_a_fault_of_the_connection(connector):
    async with SmtpServer() as server:
        port = server.port
    with pytest.raises(RelayFault) as caught:
        await connector(port)()
    assert (caught.value.phase, caught.value.reply) == (Phase.CONNECT, None)
    assert caught.value.reason


CLOSED = Action.CLOSE


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (say("554 5.7.1 go away", "connect"), 554),
        (go_away("connect"), 421),
        (go_away("ehlo"), 421),
        (say("550 5.7.1 bad name", "ehlo"), 550),
        (Fault("connect", CLOSED), None),
        (Fault("ehlo", CLOSED), None),
        (hang("connect"), None),
        (hang("ehlo"), None),
        (say("hello", "connect"), None),
        (say("hello", "ehlo"), None),
        (say("220-" + "x" * 3_000_000, "connect"), None),
        (say("\r\n".join(["220-x"] * 500_000), "connect"), None),
        (say("\r\n".join(["250-x"] * 500_000), "ehlo"), None),
    ],
    ids=[
        "refused",
        "421",
        "421 to EHLO",
        "EHLO refused",
        "closed",
        "closed at EHLO",
        "hang",
        "hang at EHLO",
        "garbage",
        "garbage at EHLO",
        "a line without end",
        "lines without end",
        "lines without end at EHLO",
    ],
)
async def test_a_session_that_cannot_be_had_is_a_fault_of_the_relay(connector, fault, code):
    async with SmtpServer(Options(faults=[fault])) as server:
        with pytest.raises(RelayFault) as caught:
            await connector(server.port, connect=0.2)()
        assert caught.value.phase is Phase.CONNECT
        assert (caught.value.reply.code if caught.value.reply else None) == code
        assert 0 < len(caught.value.reason) < 1100
        assert caught.value.reason.isprintable()
        await until(lambda: not server.state.clients)


async def test_a_server_that_knows_helo_only_gets_helo(connector):
    fault = say("502 5.5.1 what?", "ehlo", match="EHLO")
    async with SmtpServer(Options(faults=[fault], extensions=())) as server:
        session = await connector(server.port)()
        assert session.extensions == {}
        assert (await session.transact(ENVELOPE, MESSAGE)).final.positive
        session.close()


async def test_hanging_is_bounded_and_the_error_names_the_setting(connector):
    async with SmtpServer(Options(faults=[hang("connect")])) as server:
        with pytest.raises(RelayFault, match="MAILER_SMTP_CONNECT_SECONDS"):
            await connector(server.port, connect=0.05)()


async def test_a_server_that_hangs_up_right_after_ehlo_is_at_fault_or_gives_a_session(
    scripted, connector
):
    """Whichever is noticed first, no email fails for it."""

    async def serve(reader, writer):
        writer.write(b"220 hello\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"250 test\r\n")

    async with scripted(serve) as port:
        for _ in range(20):
            try:
                session = await connector(port)()
            except RelayFault as fault:
                assert fault.phase in {Phase.CONNECT, Phase.AUTH}  # noqa: PT017 - or it connects
            else:
                assert (await session.transact(ENVELOPE, MESSAGE)).failure


async def test_a_connection_lost_before_it_is_handed_over_is_a_fault_of_the_relay(
    connector, monkeypatch
):
    import aiosmtplib

    plain = aiosmtplib.SMTP.ehlo

    async def ehlo_and_loss(client, *args, **kwargs):
        await plain(client, *args, **kwargs)
        client.close()

    monkeypatch.setattr(aiosmtplib.SMTP, "ehlo", ehlo_and_loss)
    async with SmtpServer() as server:
        with pytest.raises(RelayFault, match="closed the connection"):
            await connector(server.port)()


# TLS and AUTH


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


def server_context(authority, name="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="session")
def server_tls(authority):
    return server_context(authority)


@pytest.fixture(scope="session")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secured(connector, server_tls, trusting):
    """Runs a server with TLS, and a connector that trusts it."""

    @asynccontextmanager
    async def run(tls, certificate=None, context=trusting, offered=True, password=SECRET, **more):
        context_of_server = certificate or server_tls
        options = Options(users={USER: SECRET}, **more)
        if offered and tls is IMPLICIT:
            options.implicit_tls = context_of_server
        elif offered:
            options.starttls = context_of_server
        async with SmtpServer(options) as server:
            server.state.commands = []
            yield (
                server,
                connector(
                    server.port,
                    connect=2.0,
                    tls=tls,
                    context=context,
                    username=USER,
                    password=password,
                ),
            )

    return run


@pytest.mark.parametrize("tls", [REQUIRED, IMPLICIT, OPPORTUNISTIC])
async def test_a_session_is_secured_before_it_logs_in(secured, tls):
    async with secured(tls) as (server, connect):
        session = await connect()
        assert session._channel._transport.get_extra_info("ssl_object") is not None
        assert (await session.transact(ENVELOPE, MESSAGE)).final.positive
        await session.quit()
    commands = server.state.commands
    assert server.state.count == 1
    if tls is not IMPLICIT:
        assert commands.index("STARTTLS") < commands.index("AUTH")
        assert commands.count("EHLO") == 2


async def test_extensions_are_those_offered_under_tls(scripted, connector, server_tls, trusting):
    """RFC 3207, section 4.2: what was said before TLS is forgotten."""

    async def serve(reader, writer):
        writer.write(b"220 hello\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"250-test\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"220 go\r\n")
        await writer.start_tls(server_tls)
        await reader.readuntil(b"\r\n")
        writer.write(b"250-test\r\n250 PIPELINING\r\n")
        await reader.read()

    async with scripted(serve) as port:
        session = await connector(port, tls=REQUIRED, context=trusting)()
        assert "smtputf8" not in session.extensions
        assert "pipelining" in session.extensions
        session.close()


@pytest.mark.parametrize("tls", [REQUIRED, IMPLICIT, OPPORTUNISTIC])
@pytest.mark.parametrize("wrong", ["host name", "unknown authority"])
async def test_a_certificate_that_is_not_the_relays_is_refused(secured, authority, tls, wrong):
    context = ssl.create_default_context() if wrong == "unknown authority" else None
    name = "mx.other.example" if wrong == "host name" else "127.0.0.1"
    more = {"context": context} if context else {}
    async with secured(tls, server_context(authority, name), **more) as (server, connect):
        with pytest.raises(RelayFault) as caught:
            await connect()
    assert caught.value.phase is Phase.TLS
    assert "AUTH" not in server.state.commands
    assert ("mismatch" if wrong == "host name" else "issuer") in caught.value.reason


async def test_without_starttls_nothing_is_said_where_it_is_required(secured):
    async with secured(REQUIRED, offered=False) as (server, connect):
        with pytest.raises(RelayFault) as caught:
            await connect()
    assert caught.value.phase is Phase.TLS
    assert not {"AUTH", "MAIL"} & set(server.state.commands)


@pytest.mark.parametrize("tls", [REQUIRED, OPPORTUNISTIC])
@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"hm\r\n", b""], ids=ascii)
async def test_where_starttls_goes_wrong_nothing_follows_in_the_clear(
    scripted, connector, trusting, tls, reply
):
    said = bytearray()

    async def serve(reader, writer):
        writer.write(b"220 hello\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"250-test\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(reply)
        if not reply:
            writer.write_eof()
        said.extend(await reader.read())

    async with scripted(serve) as port:
        with pytest.raises(RelayFault) as caught:
            await connector(
                port, connect=2.0, tls=tls, context=trusting, username=USER, password=SECRET
            )()
        assert caught.value.phase is Phase.TLS
        assert b"AUTH" not in said


async def test_what_is_injected_behind_the_220_does_not_count(
    scripted, connector, trusting, server_tls
):
    """CVE-2021-… of many clients: plain bytes taken for a reply under TLS."""
    offered = []

    async def serve(reader, writer):
        writer.write(b"220 hello\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"250 STARTTLS\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(b"220 go\r\n250-evil\r\n250 SMTPUTF8\r\n")
        await writer.start_tls(server_tls)
        await reader.readuntil(b"\r\n")
        writer.write(b"250-good\r\n250 PIPELINING\r\n")
        await reader.read()

    async with scripted(serve) as port:
        try:
            session = await connector(port, connect=0.5, tls=REQUIRED, context=trusting)()
        except RelayFault:
            return
        offered.append(session.extensions)
        session.close()
    assert "smtputf8" not in offered[0]


async def test_a_tls_handshake_that_hangs_is_bounded(scripted, connector, trusting):
    async def serve(reader, writer):
        await asyncio.Event().wait()

    async with scripted(serve) as port:
        with pytest.raises(RelayFault):
            await connector(port, connect=0.1, tls=IMPLICIT, context=trusting)()


@pytest.mark.parametrize("tls", [REQUIRED, IMPLICIT, OPPORTUNISTIC])
async def test_a_wrong_password_is_a_fault_of_the_relay_and_never_shown(secured, tls):
    async with secured(tls, password="wr0ng-s3cr3t") as (server, connect):
        with pytest.raises(RelayFault) as caught:
            await connect()
        await until(lambda: not server.state.clients)
    fault = caught.value
    assert fault.phase is Phase.AUTH
    assert (fault.reply.code, fault.reply.enhanced_code) == (535, "5.7.8")
    shown = f"{fault!r} {fault} {fault.__cause__!r} {connect!r}"
    assert "wr0ng" not in shown
    assert fault.reason == "535 5.7.8 Wrong user or password"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (say("454 4.7.0 later", "auth"), 454),
        (go_away("auth"), 421),
        (Fault("auth", CLOSED), None),
        (say("hello", "auth"), None),
    ],
    ids=["454", "421", "closed", "garbage"],
)
async def test_logging_in_may_go_wrong_in_other_ways(secured, fault, code):
    async with secured(REQUIRED, faults=[fault]) as (_, connect):
        with pytest.raises(RelayFault) as caught:
            await connect()
    assert caught.value.phase is Phase.AUTH
    assert (caught.value.reply.code if caught.value.reply else None) == code


async def test_a_server_without_auth_cannot_be_logged_in_to(connector):
    async with SmtpServer() as server:
        with pytest.raises(RelayFault) as caught:
            await connector(server.port, username=USER, password=SECRET)()
    assert caught.value.phase is Phase.AUTH
    assert SECRET not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("password", ["pässwörd", "a b", "x" * 300, "with\ttab", "\u2713"])
async def test_any_password_gets_through(connector, password):
    async with SmtpServer(Options(users={USER: password})) as server:
        session = await connector(server.port, username=USER, password=password)()
        assert (await session.transact(ENVELOPE, MESSAGE)).final.positive
        session.close()


async def test_without_credentials_the_relays_530_is_a_reply_like_others(connector):
    async with SmtpServer(Options(users={USER: SECRET})) as server:
        session = await connector(server.port, Timeouts(5, 5))()
        assert (await session.transact(ENVELOPE, MESSAGE)).mail.code == 530
        session.close()
