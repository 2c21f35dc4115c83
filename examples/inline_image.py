"""An image within the HTML: a part of the message, named by its Content-ID.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/inline_image.py [SENDER RECIPIENT...]
"""

import struct
import sys
import zlib

from mailer import Attachment, Email, Mailer

sender, *recipients = sys.argv[1:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# a square of 32 by 32 pixels, each red, green, blue; a 0 before each row says that it is unfiltered
pixels = (b"\0" + b"\x1e\x88\xe5" * 32) * 32
header = struct.pack(">2I5B", 32, 32, 8, 2, 0, 0, 0)
chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
png = b"\x89PNG\r\n\x1a\n" + chunks

email = Email(
    from_email=sender,
    to=recipients,
    subject="With a picture",
    text="Here would be a blue square.\n",
    html='<p>A blue square: <img src="cid:square" alt="blue"></p>',
    attachments=[Attachment.from_bytes(png, filename="square.png", content_id="square")],
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
