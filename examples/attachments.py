"""Files and bytes as attachments.

It writes two files into a folder and attaches them. The folder must be named by
MAILER_ATTACHMENT_ROOTS, here and where the worker runs:

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 MAILER_ATTACHMENT_ROOTS=/srv/invoices \
    python examples/attachments.py /srv/invoices [SENDER RECIPIENT...]
"""

import sys
from pathlib import Path

from mailer import Attachment, Email, Mailer

folder = Path(sys.argv[1])
sender, *recipients = sys.argv[2:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]

(folder / "terms.txt").write_text("Pay within 14 days.\n")
(folder / "größe.csv").write_text("size\nXL\n")

email = Email(
    from_email=sender,
    to=recipients,
    subject="Three attachments",
    text="See below.\n",
    attachments=[
        # stays where it is: the worker reads it under the same path
        Attachment.from_path(folder / "terms.txt"),
        # read now and kept in Redis: the worker needs no access to this disk
        Attachment.from_path(folder / "größe.csv", upload=True),
        # kept in Redis, too
        Attachment.from_bytes(b'{"order": 42}', filename="order.json"),
    ],
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
