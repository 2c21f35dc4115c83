"""How a session is made: connect, greeting, EHLO, TLS, AUTH; aiosmtplib does most of it."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import cast

import aiosmtplib
import attrs

from mailer.settings import Settings
from workers.relays.relay import Relay, Tls
from workers.relays.tokens import NoToken
from workers.smtp.replies import Reply
from workers.smtp.session import Session
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Phase


@attrs.frozen
class RelayFault(Exception):
    """The relay can't be used now. That is no fault of any message."""

    phase: Phase
    reason: str
    reply: Reply | None = None


@attrs.frozen
class Connector:
    """Makes sessions with one relay."""

    relay: Relay
    ehlo_hostname: str
    connect_timeout: float
    timeouts: Timeouts
    tls_context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, relay: Relay, settings: Settings) -> "Connector":
        """Make one as the settings have it."""
        timeouts = Timeouts(
            command=settings.smtp_command_seconds,
            data=settings.smtp_data_seconds,
            block=settings.smtp_block_seconds,
            final=settings.smtp_final_seconds,
        )
        return cls(
            relay,
            settings.ehlo_hostname,
            settings.smtp_connect_seconds,
            timeouts,
            relay.tls_context(),
        )

    async def __call__(self) -> Session:
        """Return a session that is ready for MAIL.

        Raises:
            RelayFault: naming the phase.
        """
        relay = self.relay
        client = aiosmtplib.SMTP(
            hostname=None if relay.socket else relay.host,
            port=None if relay.socket else relay.port,
            socket_path=relay.socket,
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
                extensions = await self._greet(client)
                phase = Phase.TLS
                if relay.tls is Tls.REQUIRED or (
                    relay.tls is Tls.OPPORTUNISTIC and "starttls" in extensions
                ):
                    await client.starttls(
                        server_hostname=relay.host if relay.socket else None,
                        tls_context=self.tls_context,
                    )
                    extensions = await self._greet(client)
                phase = Phase.AUTH
                if relay.username:
                    await self._sign_in(client, relay.username)
        except (aiosmtplib.SMTPException, NoToken, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise _fault(phase, error, self.connect_timeout) from error
        except BaseException:
            client.close()
            raise
        transport = cast("asyncio.Transport | None", client.transport)
        if transport is None or transport.is_closing():
            client.close()
            raise RelayFault(phase, "the server closed the connection")
        used = {name: extensions[name] for name in extensions.keys() - relay.without}
        return Session(transport, used, self.timeouts, lmtp=relay.lmtp)

    async def _greet(self, client: aiosmtplib.SMTP) -> Mapping[str, str]:
        """Say EHLO, HELO to those who don't know it, or LHLO; return what is offered."""
        if not self.relay.lmtp:
            await client._ehlo_or_helo_if_needed()
            offered = client.esmtp_extensions.items()
            return {name.lower(): parameters for name, parameters in offered}
        reply = await client.execute_command(b"LHLO", self.ehlo_hostname.encode("ascii"))
        if reply.code != 250:
            raise aiosmtplib.SMTPHeloError(reply.code, reply.message)
        # so that STARTTLS and AUTH find what they look for, and don't say EHLO
        client.last_ehlo_response = reply
        return {name.lower(): parameters for name, parameters in client.esmtp_extensions.items()}

    async def _sign_in(self, client: aiosmtplib.SMTP, username: str) -> None:
        token = self.relay.token
        if token is None:
            await self._log_in(client, username, self.relay.password or "")
            return
        try:
            await client.auth_xoauth2(username, await token.fresh())
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code != 535:
                raise
            # it may have run out between its making and its use
            await client.auth_xoauth2(username, await token.fresh())

    async def _log_in(self, client: aiosmtplib.SMTP, username: str, password: str) -> None:
        """Try one mechanism: a wrong password said in three ways may lock the account."""
        ways = {"plain": client.auth_plain, "login": client.auth_login}
        if self.relay.tls in {Tls.REQUIRED, Tls.IMPLICIT}:
            ways["cram-md5"] = client.auth_crammd5
        else:
            ways = {"cram-md5": client.auth_crammd5, **ways}
        offered = {name.lower() for name in client.server_auth_methods}
        sign_in = next((way for name, way in ways.items() if name in offered), None)
        if sign_in is None:
            names = ", ".join(sorted(offered)) or "nothing"
            raise aiosmtplib.SMTPNotSupported(f"no AUTH that we know is offered, but {names}")
        await sign_in(username, password)


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
