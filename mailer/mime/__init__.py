"""A stored message, turned into the bytes that go over the wire: pure, and the same every time."""

from mailer.mime.build import build
from mailer.mime.errors import CannotBuild, NeedsSmtpUtf8
from mailer.mime.headers import check_header

__all__ = ["CannotBuild", "NeedsSmtpUtf8", "build", "check_header"]
