"""Contents that lie elsewhere: ``https`` (over ``connections`` and ``addresses``) and ``objects``.

Neither aiohttp nor fsspec is needed until a host or a prefix is allowed.
"""

from collections.abc import AsyncGenerator

from mailer.settings import Settings
from workers.fetching.https import HttpsFetcher
from workers.fetching.objects import ObjectReader


class Fetcher:
    """Fetches by whatever a URI begins with, and within the settings' bounds."""

    def __init__(self, settings: Settings) -> None:
        seconds = settings.attachment_fetch_seconds
        self._https = HttpsFetcher(
            settings.attachment_hosts, settings.attachment_private_hosts, seconds
        )
        self._objects = ObjectReader(settings.attachment_uris, seconds)

    def fetch(self, uri: str, limit: int) -> AsyncGenerator[bytes]:
        """Give a content of up to ``limit`` bytes in chunks.

        Raises:
            AttachmentUnavailable: it is not to be had, or is too large.
            AttachmentUnreachable: it can't be had now.
        """
        reader = self._https if uri.startswith("https:") else self._objects
        return reader.fetch(uri, limit)

    async def close(self) -> None:
        """Close all connections."""
        await self._https.close()
