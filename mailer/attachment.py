"""Attachments, as a producer names them. Nothing here looks at a file; ``enqueue`` does."""

import mimetypes
import re
from email.message import Message as LibraryMessage
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

import attrs

from mailer.errors import InvalidEmail
from mailer.header_checks import exact, header_value
from mailer.prepared import serialized

_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[\x20-\x7e]*)?")
_CONTENT_ID = re.compile(r"[^\s<>\x00-\x20\x7f-\U0010ffff]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Attachment:
    """A file that goes with an email. Made by `from_path`, `from_bytes` and their like.

    Attributes:
        filename: shown to the reader; only ever a base name.
        content_type: ``type/subtype``, with parameters where needed.
        content: the bytes, or None where they lie elsewhere.
        path: a file under one of ``MAILER_ATTACHMENT_ROOTS``.
        upload: the file is read at enqueue and kept in Redis; else workers read it too.
        uri: where workers fetch it.
        sha256: what it must be, in hex; else whatever is there when it is first read.
        content_id: shows the attachment inside the HTML, as ``<img src="cid:…">``.
    """

    filename: str = attrs.field(converter=exact)
    content_type: str = attrs.field(converter=exact)
    content: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None
    upload: bool = False
    uri: str | None = attrs.field(default=None, repr=False)  # its query may be a secret
    sha256: str | None = None
    content_id: str | None = None

    def __attrs_post_init__(self) -> None:
        header_value(self.filename, "filename")
        header_value(self.content_type, "content_type")
        header_value(self.content_id or "", "content_id")
        header_value(str(self.path), "path")  # it is stored as JSON, and shown in errors
        header_value(self.uri or "", "uri")
        if not self.filename or self.filename in {".", ".."} or re.search(r"[/\\]", self.filename):
            raise InvalidEmail("filename", f"{self.filename!a} is not a plain file name")
        if not _CONTENT_TYPE.fullmatch(self.content_type):
            raise InvalidEmail("content_type", "looks like type/subtype, for example text/csv")
        if self.content_type.lower().startswith("multipart/"):
            raise InvalidEmail("content_type", "can't be a multipart; attach the parts themselves")
        if self.content_id is not None and not _CONTENT_ID.fullmatch(self.content_id):
            raise InvalidEmail("content_id", "is ASCII, without spaces and angle brackets")
        if sum(source is not None for source in (self.content, self.path, self.uri)) != 1:
            raise InvalidEmail("content", "is needed, or path, or uri; one of them")
        if self.sha256 is not None and not (
            isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)
        ):
            raise InvalidEmail("sha256", "is 64 hexadecimal digits, in lower case")

    @classmethod
    def from_path(
        cls,
        path: str | PurePath,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        content_id: str | None = None,
        upload: bool = False,
    ) -> "Attachment":
        """Attach a file, by reference: workers read it when they send.

        ``enqueue`` pins its size and SHA-256, so that what is sent is what was there then. With
        ``upload`` it keeps the content in Redis instead, for workers that don't share the disk.
        """
        if not isinstance(path, str | PurePath):
            raise InvalidEmail("path", f"is a path, not {type(path).__name__}")
        where = Path(path)
        name = filename or where.name
        return cls(
            filename=name,
            content_type=content_type or _guessed(name),
            path=where,
            upload=upload,
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

    @classmethod
    def from_message(
        cls, message: LibraryMessage | bytes, *, filename: str = "message.eml"
    ) -> "Attachment":
        """Forward a message as an attachment (message/rfc822)."""
        content = serialized(message)
        return cls(filename=filename, content_type="message/rfc822", content=content)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        content_id: str | None = None,
        sha256: str | None = None,
    ) -> "Attachment":
        """Attach what a worker fetches from an ``https`` URL on one of ``MAILER_ATTACHMENT_HOSTS``.

        It is fetched once; all attempts send the same content.
        """
        return cls._from_uri("url", url, filename, content_type, content_id, sha256)

    @classmethod
    def from_uri(
        cls,
        uri: str,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        content_id: str | None = None,
        sha256: str | None = None,
    ) -> "Attachment":
        """Attach an object that a worker reads by fsspec, such as ``s3://bucket/key``.

        It must lie under one of ``MAILER_ATTACHMENT_URIS``; it is read once, as with `from_url`.
        """
        return cls._from_uri("uri", uri, filename, content_type, content_id, sha256)

    @classmethod
    def _from_uri(
        cls,
        field: str,
        uri: str,
        filename: str | None,
        content_type: str | None,
        content_id: str | None,
        sha256: str | None,
    ) -> "Attachment":
        header_value(uri, field)
        try:
            scheme, _, path, _, _ = urlsplit(uri)
        except ValueError as error:
            raise InvalidEmail(field, f"is malformed: {error}") from None
        uri = f"{scheme}{uri[len(scheme) :]}"  # in lower case, by which https is told from others
        if (scheme == "https") != (field == "url"):
            other = "from_uri" if field == "url" else "from_url"
            wanted = "https://…" if field == "url" else "such as s3://bucket/key"
            raise InvalidEmail(field, f"is {wanted}; for others there is Attachment.{other}")
        name = filename or unquote(path.rpartition("/")[2])
        if not name:
            raise InvalidEmail("filename", f"is needed, for the {field} has none in it")
        return cls(
            filename=name,
            content_type=content_type or _guessed(name),
            uri=uri,
            sha256=sha256,
            content_id=content_id,
        )


def _guessed(filename: str) -> str:
    guess, encoding = mimetypes.guess_type(filename)
    # a compressed file is not what it unpacks to
    return guess if guess and not encoding else "application/octet-stream"
