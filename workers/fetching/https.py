"""Attachments by URL: fetched over HTTPS, from allowed hosts only, within bounds.

Sources: RFC 9110 (status codes, redirects, content codings); OWASP, Server-Side Request Forgery
Prevention.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from mailer.attachments.locations import HttpsUrl, endpoint, require_allowed_url
from mailer.errors import AttachmentUnavailable, AttachmentUnreachable, InvalidSetting

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from workers.fetching.connections import Connections

_CHUNK_BYTES = 128 * 1024
_MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_TO_BE_TRIED_AGAIN = {408, 425, 429, *range(500, 600)}


class HttpsFetcher:
    """Fetches over HTTPS from ``hosts``; those in ``private_hosts`` may have private addresses.

    Args:
        hosts: each is ``host`` (port 443) or ``host:port``.
        private_hosts: written likewise.
        seconds: for a whole fetch, redirects and the reader's own pauses included.
        tls: verifies the servers; without it, the system's certificates do.

    Raises:
        InvalidSetting: a host is malformed, or aiohttp is not installed.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        private_hosts: Sequence[str],
        seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = tuple(hosts)
        self._private = frozenset(endpoint(entry) for entry in private_hosts)
        self._seconds = seconds
        self._tls = tls
        self._connections: Connections | None = None
        if [endpoint(entry) for entry in hosts]:
            self._opened()  # tells early that aiohttp is missing, or not at all

    async def fetch(self, url: str, limit: int) -> AsyncGenerator[bytes, None]:
        """Give the content in chunks; whoever does not read to the end closes it (``aclosing``).

        Raises:
            AttachmentUnavailable: it is not to be had, or has over ``limit`` bytes.
            AttachmentUnreachable: it can't be had now.
        """
        location = require_allowed_url(url, self._hosts)
        connections = self._opened()
        deadline = asyncio.get_running_loop().time() + self._seconds
        location, response = await self._ask(location, deadline)
        try:
            _require_content(response, location, limit)
            left = limit
            while chunk := await connections.read(
                response,
                min(_CHUNK_BYTES, left + 1),  # one byte more than is allowed tells of more
                location,
                deadline,
            ):
                left -= len(chunk)
                if left < 0:
                    raise _too_large(location, limit)
                yield chunk
        finally:
            response.close()

    async def close(self) -> None:
        """Close all connections; what is being fetched ends as unreachable."""
        if self._connections is not None:
            await self._connections.close()

    async def _ask(self, location: HttpsUrl, deadline: float) -> "tuple[HttpsUrl, ClientResponse]":
        """Ask, and again where redirects lead: each place must be an allowed one."""
        for _ in range(1 + _MAX_REDIRECTS):
            response = await self._opened().get(location, deadline)
            if response.status not in _REDIRECTS:
                return location, response
            response.close()
            location = self._redirected(location, response.headers.get("Location", ""))
        raise AttachmentUnavailable(
            f"{location.name} redirects too often; {_MAX_REDIRECTS} redirects are followed"
        )

    def _redirected(self, location: HttpsUrl, target: str) -> HttpsUrl:
        try:
            return require_allowed_url(urljoin(str(location), target), self._hosts)
        except AttachmentUnavailable as error:
            raise AttachmentUnavailable(f"{location.name} redirects elsewhere: {error}") from None
        except ValueError:
            raise AttachmentUnavailable(f"{location.name} redirects to no URL") from None

    def _opened(self) -> "Connections":
        if self._connections is None:
            try:
                from workers.fetching.connections import Connections  # noqa: PLC0415 - optional
            except ImportError:
                raise InvalidSetting(
                    "MAILER_ATTACHMENT_HOSTS: fetching from hosts needs aiohttp; "
                    "pip install 'celery-mailer[url]'"
                ) from None
            self._connections = Connections(self._private, self._tls)
        return self._connections


def _require_content(response: "ClientResponse", location: HttpsUrl, limit: int) -> None:
    """Make sure that what follows is the content itself, and not too much of it."""
    status = response.status
    if status != HTTPStatus.OK:
        sentence = f"{location.name} answered with status {status}"
        if status in _TO_BE_TRIED_AGAIN:
            raise AttachmentUnreachable(sentence)
        raise AttachmentUnavailable(sentence)
    # a coding that was not asked for may be a bomb, and would not be the announced length
    codings = {*response.headers.getall("Content-Encoding", [])}
    transfer = {*response.headers.getall("Transfer-Encoding", [])}
    if any(c.strip().lower() not in {"", "identity"} for c in codings) or any(
        t.strip().lower() != "chunked" for t in transfer
    ):
        raise AttachmentUnavailable(f"{location.name} sent the content encoded, unasked")
    if response.content_length is None and not transfer:
        # one that breaks off would look like one that is complete
        raise AttachmentUnavailable(f"{location.name} does not say how long the content is")
    if (response.content_length or 0) > limit:
        raise _too_large(location, limit)


def _too_large(location: HttpsUrl, limit: int) -> AttachmentUnavailable:
    return AttachmentUnavailable(
        f"the content at {location.name} has more than {limit} bytes (MAILER_MAX_ATTACHMENT_BYTES)"
    )
