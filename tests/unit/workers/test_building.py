"""What the builder asks of a relay, and what it makes of a message for it."""

import pytest

from mailer.address import Address
from mailer.job import Priority, Recipient
from mailer.message import AttachmentRef, Message, Source
from mailer.mime import NeedsSmtpUtf8
from mailer.store.agenda import Assignment, Lease
from mailer.store.records import Head
from workers.building import Builder
from workers.contents import Budget, Contents

PLAIN = Message("<1@example.com>", Address("shop@example.com"), to=(Address("a@example.org"),))


async def built(message, extensions, recipient="a@example.org"):
    head = Head("<1@example.com>", envelope_sender="shop@example.com")
    people = (Recipient(recipient),)
    job = Assignment(Lease("1", 1), head, message, people, Priority.NORMAL, 0, 0, 0, 0)
    contents = Contents(None, Budget(), [message])
    return await Builder({}).build(
        job, message, dict.fromkeys(extensions, ""), recipients=[recipient], contents=contents
    )


async def test_the_size_is_that_of_all_segments():
    envelope, segments = await built(PLAIN, ["8bitmime"])
    assert envelope.size == sum(map(len, segments))
    assert not envelope.smtputf8


@pytest.mark.parametrize("field", ["reply_to", "cc"])
async def test_an_address_in_the_header_alone_needs_smtputf8(field):
    message = Message(PLAIN.message_id, PLAIN.from_email, **{field: (Address("jörg@a.example"),)})
    envelope, (wire,) = await built(message, ["smtputf8"])
    assert envelope.smtputf8
    assert "jörg@a.example".encode() in wire
    with pytest.raises(NeedsSmtpUtf8, match="which the relay does not offer"):
        await built(message, ["8bitmime"])


async def test_what_needs_smtputf8_is_refused_before_an_attachment_is_read():
    gone = AttachmentRef("a.txt", "text/plain", Source("00", 1, path="/nowhere/a.txt"))
    to = (Address("a@example.org"),)
    message = Message(
        PLAIN.message_id, Address("jörg@a.example"), to=to, text="Hi", attachments=(gone,)
    )
    with pytest.raises(NeedsSmtpUtf8, match="which the relay does not offer"):
        await built(message, ["8bitmime"])  # there are no sources to read from


async def test_a_recipient_in_utf8_needs_smtputf8():
    envelope, _ = await built(PLAIN, ["smtputf8"], "jörg@a.example")
    assert envelope.smtputf8
    with pytest.raises(NeedsSmtpUtf8):
        await built(PLAIN, ["8bitmime"], "jörg@a.example")
