"""Which emails are the same one to an idempotency key: a hash of what each would be."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec

from mailer.job import Recipient
from mailer.message import Message
from mailer.store.records import Head, encode

# whoever builds a message anew gets others: fields of the header, and boundaries as Python's
# library makes them up
_NEW_EACH_TIME = re.compile(r"(?im)^(?:date|message-id):[^\n]*\n(?:[ \t][^\n]*\n)*")
_BOUNDARY = re.compile(rb"={15}\d{19}==")


def fingerprint(
    head: Head, message: Message, recipients: Sequence[Recipient], blobs: Mapping[str, bytes]
) -> str:
    """Identify what recipients would see, and by which way it would come to them.

    Left out is what may differ where a program says the same again: when it is sent, and for how
    long that is tried (``scheduled_at``, ``expires_at``, ``priority``, ``retry``), ``metadata``
    and ``supersede_key``.
    """
    way = (head.envelope_sender, head.relay, head.delivery, head.dsn_notify, head.dsn_return)
    parts = [encode((msgspec.structs.replace(message, message_id="", prepared=None), way))]
    # tags choose routes, and suppression lists
    parts.append(encode((recipients, sorted(head.tags))))
    if message.prepared:
        header = _NEW_EACH_TIME.sub("", message.prepared.header).encode()
        parts += [header, blobs[message.prepared.body.sha256]]
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(_BOUNDARY.sub(b"", part)).digest())
    return found.hexdigest()[:32]
