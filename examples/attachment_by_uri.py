"""An attachment that the worker reads through fsspec, for example from S3.

The worker needs the file system's package, such as s3fs, and its credentials; this script needs
neither. What the URI begins with must be named by MAILER_ATTACHMENT_URIS, in both places:

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 MAILER_ATTACHMENT_URIS=s3://invoices/ \
    python examples/attachment_by_uri.py s3://invoices/2026/42.pdf [SENDER RECIPIENT...]
"""

import sys

from mailer import Attachment, Email, Mailer

uri = sys.argv[1]
sender, *recipients = sys.argv[2:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]

email = Email(
    from_email=sender,
    to=recipients,
    subject="Your invoice",
    text="It is attached.\n",
    attachments=[Attachment.from_uri(uri)],
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
