"""An attachment that the worker fetches by https, once for all attempts.

The URL's host must be named by MAILER_ATTACHMENT_HOSTS, here and where the worker runs:

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 MAILER_ATTACHMENT_HOSTS=files.example.com \
    python examples/attachment_by_url.py https://files.example.com/terms.pdf [SENDER RECIPIENT...]
"""

import sys

from mailer import Attachment, Email, Mailer

url = sys.argv[1]
sender, *recipients = sys.argv[2:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]

email = Email(
    from_email=sender,
    to=recipients,
    subject="Our terms",
    text="They are attached.\n",
    # give sha256= as well, where you know what must be there
    attachments=[Attachment.from_url(url, filename="terms.pdf")],
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
