"""Connections to servers: made only to addresses it has checked; aiohttp is met only here.

Imported where the first host is allowed, because aiohttp is an optional dependency.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from mailer.attachments.locations import HttpsUrl
from mailer.errors import AttachmentUnavailable, AttachmentUnreachable
from workers.fetching.addresses import is_public

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "celery-mailer"}
_MOST_FOREIGN_CHARACTERS = 100


class CheckedResolver(AbstractResolver):
    """Gives only addresses that may be connected to.

    They are connected to as they are, without a second look-up, so that a DNS server that changes
    its answer in between (DNS rebinding) changes nothing.
    """

    def __init__(
        self, private: Collection[tuple[str, int]], resolver: AbstractResolver | None = None
    ) -> None:
        self._private = private
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look up ``host``; one private address among others is enough to refuse it.

        Raises:
            AttachmentUnavailable: it has an address that is not public.
            OSError: it can't be looked up.
        """
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            require_public(host, port, result["host"], self._private)
        return results

    async def close(self) -> None:
        """Give up what the resolver beneath holds."""
        await self._resolver.close()


def require_public(
    host: str, port: int, address: str, private: Collection[tuple[str, int]]
) -> None:
    """Refuse a ``host`` whose ``address`` is not public, but for those that may be ``private``.

    Raises:
        AttachmentUnavailable: with the setting to change.
    """
    if (host, port) not in private and not is_public(address):
        raise AttachmentUnavailable(
            f"{host[:_MOST_FOREIGN_CHARACTERS]} leads to {address}, which is not a public address; "
            "if that is meant to be, add the host to MAILER_ATTACHMENT_PRIVATE_HOSTS"
        )


class Connections:
    """One HTTP session: no proxies, no cookies, no decompression, no redirects of its own."""

    def __init__(self, private: Collection[tuple[str, int]], tls: ssl.SSLContext | None) -> None:
        self._private = private
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def get(self, location: HttpsUrl, deadline: float) -> aiohttp.ClientResponse:
        """Ask for ``location``; return once the head of the response is here.

        Raises:
            AttachmentUnavailable: the host has an address that is not public.
            AttachmentUnreachable: as `faults_of` says.
        """
        if _is_address(location.host):  # aiohttp asks no resolver about it
            require_public(location.host, location.port, location.host, self._private)
        if self._session is None:
            self._session = self._new_session()
        url = URL(str(location), encoded=True)
        async with faults_of(location, deadline):
            return await self._session.get(url, allow_redirects=False)

    async def read(
        self, response: aiohttp.ClientResponse, size: int, location: HttpsUrl, deadline: float
    ) -> bytes:
        """Read ``size`` bytes; fewer only at the end.

        Raises:
            AttachmentUnreachable: as `faults_of` says.
        """
        async with faults_of(location, deadline):
            try:
                return await response.content.readexactly(size)
            except asyncio.IncompleteReadError as end:
                return end.partial

    async def close(self) -> None:
        """Close the session; what is being read ends as unreachable."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._private),
            use_dns_cache=False,
            ssl=self._tls or True,
            # a connection per request: no bytes too many are taken for the next one's reply
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # see `faults_of`
        )


@asynccontextmanager
async def faults_of(location: HttpsUrl, deadline: float) -> AsyncIterator[None]:
    """Turn what aiohttp raises within into our errors, and end it at ``deadline`` (loop time).

    aiohttp's own sentences are not repeated: they may contain the URL.

    Raises:
        AttachmentUnavailable: the host can't be one.
        AttachmentUnreachable: anything that may pass.
    """
    name = location.name[:_MOST_FOREIGN_CHARACTERS]
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except aiohttp.InvalidURL:
        raise AttachmentUnavailable(f"{name} is not a host that can be asked") from None
    except aiohttp.ClientConnectorCertificateError as error:
        reason = getattr(error.certificate_error, "verify_message", "")[:_MOST_FOREIGN_CHARACTERS]
        raise AttachmentUnreachable(f"{name} has no valid certificate: {reason}") from None
    except aiohttp.ClientConnectorDNSError:
        raise AttachmentUnreachable(f"{name} can't be looked up in the DNS") from None
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or type(error.os_error).__name__
        raise AttachmentUnreachable(
            f"{name} can't be connected to: {reason[:_MOST_FOREIGN_CHARACTERS]}"
        ) from None
    except TimeoutError:  # some of aiohttp's are ClientErrors, too
        raise AttachmentUnreachable(
            f"{name} took too long; a fetch may take MAILER_ATTACHMENT_FETCH_SECONDS"
        ) from None
    except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
        raise AttachmentUnreachable(f"{name} broke off: {type(error).__name__}") from None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
