"""A stored message, turned into the bytes that go over the wire: pure, and the same every time."""

from mailer.mime.bodies import Encoded, encode_attachment, stream_attachment
from mailer.mime.build import build, needs_smtputf8
from mailer.mime.draft import Draft, Segment, Streamed
from mailer.mime.errors import CannotBuild, NeedsSmtpUtf8
from mailer.mime.headers import check_header
from mailer.mime.prepared import complete, to_seven_bit
from mailer.mime.render import render

__all__ = [
    "CannotBuild",
    "Draft",
    "Encoded",
    "NeedsSmtpUtf8",
    "Segment",
    "Streamed",
    "build",
    "check_header",
    "complete",
    "encode_attachment",
    "needs_smtputf8",
    "render",
    "stream_attachment",
    "to_seven_bit",
]
