"""Messages that another library has built: completed, and made fit for relays of seven bits."""

import re
from email import message_from_bytes, policy

from mailer.message import Prepared
from mailer.mime.draft import Draft, Segment
from mailer.mime.errors import CannotBuild
from mailer.mime.headers import date

_DATE = re.compile(r"^date[ \t]*:", re.IGNORECASE | re.MULTILINE)
_SIGNED = re.compile(
    r"^dkim-signature[ \t]*:"
    r"|^content-type[ \t]*:\s*(?:multipart/signed|application/(?:x-)?pkcs7-mime)",
    re.IGNORECASE | re.MULTILINE,
)


def complete(prepared: Prepared, body: Segment, seconds: int) -> Draft:
    """Put what is missing before a message that was built elsewhere, and leave the rest as it is.

    Args:
        seconds: Unix time, for the Date where it has none (RFC 5322, 3.6.1).
    """
    header = prepared.header
    if not _DATE.search(header):
        header = date(seconds) + header
    return Draft(header.encode(), (body,))


def to_seven_bit(draft: Draft) -> Draft:
    """Encode the parts of a prepared message for a relay without 8BITMIME (RFC 6152, 3).

    Raises:
        CannotBuild: if it is signed, for the signature would not fit any more.
    """
    header = draft.header.decode()
    if _SIGNED.search(header):
        raise CannotBuild("a signed message in 8 bits needs a relay that offers 8BITMIME")
    # compat32 keeps the fields as they are, and encodes the parts anew
    rules = policy.compat32.clone(cte_type="7bit", linesep="\r\n", max_line_length=0)
    encoded = message_from_bytes(bytes(draft), policy=rules).as_bytes(policy=rules)
    head, _, body = encoded.partition(b"\r\n\r\n")
    return Draft(head + b"\r\n", (body,))
