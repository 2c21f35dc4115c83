"""Attachments, as a producer names them. Nothing here looks at a file; ``enqueue`` does."""

import mimetypes
import re
from pathlib import Path, PurePath

import attrs

from mailer.checks import header_value
from mailer.errors import InvalidEmail

_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[\x20-\x7e]*)?")
_CONTENT_ID = re.compile(r"[^\s<>\x00-\x20\x7f-\U0010ffff]+")


@attrs.frozen(kw_only=True)
class Attachment:
    """A file that goes with an email. Made by `from_path` or `from_bytes`.

    Attributes:
        filename: shown to the reader; only ever a base name.
        content_type: ``type/subtype``, with parameters where needed.
        content: the bytes, or None where they lie in ``path``.
        path: a file that producer and workers can both read, under one of
            ``MAILER_ATTACHMENT_ROOTS``.
        content_id: shows the attachment inside the HTML, as ``<img src="cid:…">``.
    """

    filename: str
    content_type: str
    content: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None
    content_id: str | None = None

    def __attrs_post_init__(self) -> None:
        header_value(self.filename, "filename")
        header_value(self.content_type, "content_type")
        header_value(self.content_id or "", "content_id")
        header_value(str(self.path), "path")  # it is stored as JSON, and shown in errors
        if not self.filename or self.filename in {".", ".."} or re.search(r"[/\\]", self.filename):
            raise InvalidEmail("filename", f"{self.filename!a} is not a plain file name")
        if not _CONTENT_TYPE.fullmatch(self.content_type):
            raise InvalidEmail("content_type", "looks like type/subtype, for example text/csv")
        if self.content_type.lower().startswith("multipart/"):
            raise InvalidEmail("content_type", "can't be a multipart; attach the parts themselves")
        if self.content_id is not None and not _CONTENT_ID.fullmatch(self.content_id):
            raise InvalidEmail("content_id", "is ASCII, without spaces and angle brackets")

    @classmethod
    def from_path(
        cls,
        path: str | PurePath,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        content_id: str | None = None,
    ) -> "Attachment":
        """Attach a file by reference: workers read it when they send.

        ``enqueue`` pins its size and SHA-256, so that what is sent is what was there then.
        """
        if not isinstance(path, str | PurePath):
            raise InvalidEmail("path", f"is a path, not {type(path).__name__}")
        where = Path(path)
        name = filename or where.name
        return cls(
            filename=name,
            content_type=content_type or _guessed(name),
            path=where,
            content_id=content_id,
        )

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        *,
        filename: str,
        content_type: str | None = None,
        content_id: str | None = None,
    ) -> "Attachment":
        """Attach content that is at hand; it is kept in Redis until the email was sent."""
        if not isinstance(content, bytes | bytearray | memoryview):
            raise InvalidEmail("content", f"is bytes, not {type(content).__name__}")
        header_value(filename, "filename")
        return cls(
            filename=filename,
            content_type=content_type or _guessed(filename),
            content=bytes(content),
            content_id=content_id,
        )


def _guessed(filename: str) -> str:
    guess, encoding = mimetypes.guess_type(filename)
    # a compressed file is not what it unpacks to
    return guess if guess and not encoding else "application/octet-stream"
