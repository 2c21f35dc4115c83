"""Why a message can't be written; none of these goes away by trying again the same way."""

from mailer.errors import MailerError


class CannotBuild(MailerError):
    """No correct MIME form of the message exists; says which part of it stands in the way.

    It quotes none of the content: workers log it, and Flower shows it.
    """


class NeedsSmtpUtf8(CannotBuild):
    """An address has other than ASCII characters before its ``@``.

    Only a relay that offers SMTPUTF8 can take it (RFC 6531); build again with ``utf8_headers``
    for such a relay, else refuse the message.
    """
