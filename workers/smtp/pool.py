"""Sessions with one relay: connected when needed, kept warm, never more than allowed."""

import asyncio
import heapq
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import cast

import aiosmtplib
import attrs

from workers.relay import Relay, Tls
from workers.smtp.replies import Reply
from workers.smtp.session import Session, Timeouts
from workers.smtp.transaction import Phase


@attrs.frozen
class RelayFault(Exception):
    """The relay can't be used now. That is no fault of any message."""

    phase: Phase
    reason: str
    reply: Reply | None = None


@attrs.frozen
class Connector:
    """Makes sessions: connect, greeting, EHLO, TLS, AUTH; aiosmtplib does it all."""

    relay: Relay
    ehlo_hostname: str
    connect_timeout: float
    timeouts: Timeouts
    tls_context: ssl.SSLContext | None = None

    async def __call__(self) -> Session:
        """Return a session that is ready for MAIL.

        Raises:
            RelayFault: naming the phase.
        """
        relay = self.relay
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls is Tls.IMPLICIT,
            start_tls=False,  # done below, so that its faults are told from those of the connection
            tls_context=self.tls_context,
            local_hostname=self.ehlo_hostname,
            timeout=self.connect_timeout,
        )
        phase = Phase.CONNECT
        try:
            async with asyncio.timeout(self.connect_timeout):
                await client.connect()
                await client.ehlo()
                phase = Phase.TLS
                if self._wants_starttls(client):
                    await client.starttls(tls_context=self.tls_context)
                    await client.ehlo()
                phase = Phase.AUTH
                if relay.username and relay.password:
                    await client.login(relay.username, relay.password)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise _fault(phase, error, self.connect_timeout) from error
        except BaseException:
            client.close()
            raise
        transport = cast("asyncio.Transport | None", client.transport)
        if transport is None or transport.is_closing():
            client.close()
            raise RelayFault(phase, "the server closed the connection")
        offered = client.esmtp_extensions.items()
        extensions = {name.lower(): parameters for name, parameters in offered}
        return Session(transport, extensions, self.timeouts)

    def _wants_starttls(self, client: aiosmtplib.SMTP) -> bool:
        if self.relay.tls is Tls.OPPORTUNISTIC:
            return client.supports_extension("starttls")
        return self.relay.tls is Tls.REQUIRED


class Pool:
    """Lends sessions, never more than allowed; a warm one where there is one, else a new one.

    Who waits gets a seat by priority, and in order of arrival within one.
    """

    def __init__(self, connector: Connector, *, limit: int, idle_seconds: float) -> None:
        self._connect = connector
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._idle: list[tuple[float, Session]] = []  # the one used last at the end
        self._taken = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @asynccontextmanager
    async def seat(self, urgency: int) -> AsyncIterator["Seat"]:
        """Wait for the right to use one session; the least ``urgency`` comes first."""
        await self._turn(urgency)
        seat = Seat(self)
        try:
            yield seat
        finally:
            seat.leave()
            self._pass_on()

    async def connect(self) -> Session:
        """Make a new session.

        Raises:
            RelayFault: none could be had.
        """
        return await self._connect()

    def warm(self) -> Session | None:
        """Take the session that was used last, if one is still good."""
        while self._idle:
            _, session = self._idle.pop()
            if session.usable:
                return session
            session.close()
        return None

    def put_back(self, session: Session) -> None:
        """Keep a session for others."""
        if session.usable:
            self._idle.append((asyncio.get_running_loop().time(), session))
        else:
            session.close()

    async def close(self) -> None:
        """End the sessions that are not lent."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.quit() for _, session in idle))

    def close_idle(self) -> None:
        """End sessions that nobody has used for a while."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        stale = [session for since, session in self._idle if since < oldest or not session.usable]
        self._idle = [(since, session) for since, session in self._idle if session not in stale]
        for session in stale:
            session.close()

    async def _turn(self, urgency: int) -> None:
        if self._taken < self._limit:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the one who waits first, or free it."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1


class Seat:
    """The right to use one session at a time, for the length of one delivery."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._session: Session | None = None

    async def session(self) -> Session:
        """Return a warm session, else a new one.

        Raises:
            RelayFault: none could be had.
        """
        self._session = self._pool.warm() or await self._pool.connect()
        return self._session

    async def fresh_session(self) -> Session:
        """Return a new session in place of one that turned out to be dead."""
        if self._session:
            self._session.close()
            self._session = None
        self._session = await self._pool.connect()
        return self._session

    def leave(self) -> None:
        """Give the session back."""
        if self._session:
            self._pool.put_back(self._session)
            self._session = None


def _fault(phase: Phase, error: Exception, timeout: float) -> RelayFault:
    """Translate what connecting can end in; aiosmtplib's exceptions are known only here."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        text = " ".join(error.message.split())
        if error.code < 200:  # none that the server said, but aiosmtplib's -1 for garbage
            return RelayFault(phase, f"no SMTP reply: {text[:100]!a}")
        reply = Reply.of(error.code, text)
        return RelayFault(phase, str(reply), reply)
    if isinstance(error, TimeoutError):
        return RelayFault(phase, f"no answer within {timeout:g} s (MAILER_SMTP_CONNECT_SECONDS)")
    # aiosmtplib wraps the faults of a handshake
    causes = (error, error.__cause__, error.__context__)
    if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        said = tls.verify_message if isinstance(tls, ssl.SSLCertVerificationError) else tls.reason
        return RelayFault(Phase.TLS, f"TLS failed: {said or tls}")
    return RelayFault(phase, str(error) or type(error).__name__)
