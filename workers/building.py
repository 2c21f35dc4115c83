"""Message → envelope and draft, as the server of one session can take them; signed, where asked."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from itertools import chain

import attrs
import structlog

from mailer.dkim.keys import DkimKey, keys_for
from mailer.dkim.record import problem_with
from mailer.dkim.signature import BodyHash
from mailer.dkim.signing import with_signatures
from mailer.message import Message, Prepared
from mailer.mime import (
    CannotBuild,
    Draft,
    Encoded,
    NeedsSmtpUtf8,
    build,
    complete,
    needs_smtputf8,
    to_seven_bit,
)
from mailer.store.agenda import Assignment
from workers.contents import Contents
from workers.smtp.transaction import Dsn, Envelope, Segment

log = structlog.get_logger()
_NO_SMTPUTF8 = "an address needs SMTPUTF8, which the relay does not offer"
_HASHED_AT_ONCE = 1024 * 1024  # bytes between which other tasks get their turn


@attrs.frozen
class Builder:
    """Builds messages.

    Attributes:
        keys: the DKIM keys of each domain.
    """

    keys: Mapping[str, Sequence[DkimKey]]

    async def build(
        self,
        job: Assignment,
        message: Message,
        extensions: Mapping[str, str],
        *,
        recipients: Sequence[str],
        contents: Contents,
    ) -> tuple[Envelope, list[Segment]]:
        """Build what a server with these ``extensions`` can take.

        Raises:
            CannotBuild: it can't take the message in any form.
            AttachmentUnavailable, StoreUnavailable, OSError: see `Sources.parts`.
        """
        eight_bit = "8bitmime" in extensions
        sender = job.head.envelope_sender
        offered = "smtputf8" in extensions
        smtputf8 = not (sender + "".join(recipients)).isascii()
        if not smtputf8 and (message.prepared or (message.attachments and not offered)):
            smtputf8 = needs_smtputf8(message)  # before anything is read
        if smtputf8 and not offered:
            raise NeedsSmtpUtf8(_NO_SMTPUTF8)
        if message.prepared:
            draft = await _completed(message.prepared, message.date, contents, eight_bit=eight_bit)
        else:
            attached: Sequence[Encoded] = ()
            if message.attachments:
                attached = await contents.of(job.message, message, eight_bit=eight_bit)
            try:
                draft = build(message, attached, eight_bit=eight_bit, utf8_headers=smtputf8)
            except NeedsSmtpUtf8:  # for an address that is in the header only
                if not offered:
                    raise NeedsSmtpUtf8(_NO_SMTPUTF8) from None
                smtputf8 = True
                draft = build(message, attached, eight_bit=eight_bit, utf8_headers=True)
        if self.keys:
            draft = await self._signed(draft, message, contents)
        size, segments = 0, list[Segment]()
        for part in draft.segments():
            if isinstance(part, bytes):
                size += len(part)
                segments.append(part)
            else:
                size += part.length
                segments.append(partial(contents.chunks, part))
        _require_room(size, extensions)
        return Envelope(sender, recipients, smtputf8, size, _reports(job)), segments

    async def _signed(self, draft: Draft, message: Message, contents: Contents) -> Draft:
        """Put DKIM signatures before the header, by the keys of the author's domain."""
        keys = keys_for(message.from_email.domain, self.keys)
        if not keys:
            return draft
        body = BodyHash()
        for part in draft.body:
            if isinstance(part, bytes):
                await _hash(body, part)
            else:
                async with aclosing(contents.chunks(part)) as chunks:
                    async for chunk in chunks:
                        body.update(chunk)
        return with_signatures(draft, message, keys, body)


def _reports(job: Assignment) -> Dsn | None:
    """Tell which reports the email asks for."""
    head = job.head
    if not head.dsn_notify and not head.dsn_return:
        return None
    return Dsn(
        notify=",".join(head.dsn_notify).upper(),
        ret={"full": "FULL", "headers": "HDRS", None: ""}[head.dsn_return],
        envid=job.lease.job_id,
    )


def _require_room(size: int, extensions: Mapping[str, str]) -> None:
    """Refuse what the server would refuse, before it is sent (RFC 1870, 6.1)."""
    limit = extensions.get("size", "").strip()
    if limit.isdecimal() and 0 < int(limit[:20]) < size:
        raise CannotBuild(f"the message has {size} bytes; the relay takes {int(limit[:20])} (SIZE)")


async def _hash(body: BodyHash, part: bytes) -> None:
    if len(part) <= _HASHED_AT_ONCE:
        body.update(part)
        return
    for start in range(0, len(part), _HASHED_AT_ONCE):
        body.update(part[start : start + _HASHED_AT_ONCE])
        await asyncio.sleep(0)


async def _completed(
    prepared: Prepared, seconds: int, contents: Contents, *, eight_bit: bool
) -> Draft:
    to_be_encoded = prepared.eight_bit and not eight_bit
    body = await contents.lines(prepared.body, whole=to_be_encoded)
    draft = complete(prepared, body, seconds)
    return to_seven_bit(draft) if to_be_encoded else draft


async def warn_of_unpublished(keys: Mapping[str, Sequence[DkimKey]]) -> None:
    """Warn of DKIM keys that verifiers would not find; nobody waits for it."""
    for key in chain.from_iterable(keys.values()):
        if problem := await asyncio.to_thread(problem_with, key):
            log.warning("DKIM signatures may not verify", reason=problem)
