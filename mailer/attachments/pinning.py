"""Attachment → reference: read at enqueue where the producer can, and so pinned to what it is."""

import hashlib
from collections.abc import Mapping, Sequence
from io import BufferedReader

import attrs

from mailer.attachment import Attachment
from mailer.attachments.files import open_allowed, sha256_of, size_of
from mailer.attachments.locations import require_allowed_uri, require_allowed_url
from mailer.errors import AttachmentUnavailable, InvalidEmail
from mailer.message import AttachmentRef, Source
from mailer.settings import Settings


@attrs.frozen
class Pinned:
    """The references to an email's attachments, and the contents that the store must keep."""

    references: tuple[AttachmentRef, ...]
    blobs: Mapping[str, bytes] = attrs.field(repr=False)


def pin(attachments: Sequence[Attachment], settings: Settings) -> Pinned:
    """Read what is attached.

    Raises:
        InvalidEmail: naming the attachment that can't be read, may not be, or is too large.
    """
    references, blobs = [], {}
    room = settings.max_attachment_bytes
    for i, attachment in enumerate(attachments):
        try:
            source, content = _read(attachment, settings, room)
        except (AttachmentUnavailable, OSError) as error:
            raise InvalidEmail(f"attachments[{i}]", str(error)) from error
        room -= source.size
        if content is not None:
            blobs[source.sha256] = content
        references.append(
            AttachmentRef(
                filename=attachment.filename,
                content_type=attachment.content_type,
                source=source,
                content_id=attachment.content_id,
            )
        )
    return Pinned(tuple(references), blobs)


def _read(attachment: Attachment, settings: Settings, room: int) -> tuple[Source, bytes | None]:
    """Pin one attachment; with its content, where the store is to keep it."""
    if attachment.uri is not None:
        if attachment.uri.startswith("https:"):
            require_allowed_url(attachment.uri, settings.attachment_hosts)
        else:
            require_allowed_uri(attachment.uri, settings.attachment_uris)
        return Source(sha256=attachment.sha256 or "", uri=attachment.uri), None
    if attachment.content is not None:
        _check_size(len(attachment.content), attachment.filename, room)
        return _blob(attachment.content)
    if attachment.path is None:
        raise AttachmentUnavailable("has no content")
    with open_allowed(attachment.path, settings.attachment_roots) as file:
        _check_size(size_of(file), str(attachment.path), room)
        if attachment.upload:
            return _blob(_whole(file, room, attachment.filename))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(digest, file.tell(), path=str(attachment.path.absolute())), None


def _blob(content: bytes) -> tuple[Source, bytes]:
    return Source(sha256_of(content), len(content)), content


def _whole(file: BufferedReader, room: int, name: str) -> bytes:
    content = file.read(room + 1)  # it may be growing
    _check_size(len(content), name, room)
    return content


def _check_size(size: int, name: str, room: int) -> None:
    if size > room:
        raise AttachmentUnavailable(
            f"{name} has {size} bytes; together at most {room} more are allowed "
            "(MAILER_MAX_ATTACHMENT_BYTES)"
        )
