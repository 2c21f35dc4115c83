"""How each known header field is written; one that is not listed holds text for people."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Syntax(Enum):
    """What a custom field's value is."""

    OURS = "`build` writes it, once, or it may never be written (Bcc)"
    VERBATIM = "read by programs, and no place for encoded words (RFC 2047, 5): ASCII, as it is"
    MAILBOX = "one address, of which encoded words may hold the display name only"


SYNTAXES: Mapping[str, Syntax] = MappingProxyType(
    {
        # RFC 5322, 3.6
        "from": Syntax.OURS,
        "to": Syntax.OURS,
        "cc": Syntax.OURS,
        "bcc": Syntax.OURS,
        "reply-to": Syntax.OURS,
        "subject": Syntax.OURS,
        "date": Syntax.OURS,
        "message-id": Syntax.OURS,
        "resent-bcc": Syntax.OURS,
        "sender": Syntax.MAILBOX,
        "resent-from": Syntax.MAILBOX,
        "resent-sender": Syntax.MAILBOX,
        "references": Syntax.VERBATIM,
        "in-reply-to": Syntax.VERBATIM,
        "return-path": Syntax.VERBATIM,
        "received": Syntax.VERBATIM,
        # RFC 2045, RFC 2183
        "mime-version": Syntax.OURS,
        "content-type": Syntax.OURS,
        "content-transfer-encoding": Syntax.OURS,
        "content-disposition": Syntax.OURS,
        "content-id": Syntax.OURS,
        # RFC 2369, RFC 8058, RFC 5064
        "list-unsubscribe": Syntax.VERBATIM,
        "list-unsubscribe-post": Syntax.VERBATIM,
        "list-subscribe": Syntax.VERBATIM,
        "list-help": Syntax.VERBATIM,
        "list-post": Syntax.VERBATIM,
        "list-owner": Syntax.VERBATIM,
        "list-archive": Syntax.VERBATIM,
        "archived-at": Syntax.VERBATIM,
        # RFC 3834, RFC 2156, and the same by custom
        "auto-submitted": Syntax.VERBATIM,
        "precedence": Syntax.VERBATIM,
        "importance": Syntax.VERBATIM,
        "priority": Syntax.VERBATIM,
        "x-priority": Syntax.VERBATIM,
        "sensitivity": Syntax.VERBATIM,
        # RFC 8098, and older customs
        "disposition-notification-to": Syntax.MAILBOX,
        "return-receipt-to": Syntax.MAILBOX,
        "errors-to": Syntax.MAILBOX,
        # RFC 6376, RFC 8601
        "dkim-signature": Syntax.VERBATIM,
        "authentication-results": Syntax.VERBATIM,
        # JSON and lists that the services of these names read
        "feedback-id": Syntax.VERBATIM,
        "x-smtpapi": Syntax.VERBATIM,
        "x-mailgun-variables": Syntax.VERBATIM,
    }
)
