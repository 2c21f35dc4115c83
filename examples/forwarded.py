"""A message forwarded as an attachment, with all its headers (message/rfc822).

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/forwarded.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Attachment, Email, Mailer

sender, *recipients = sys.argv[1:] or ["Help <help@example.com>", "Ann <ann@example.org>"]

# as it lies in an .eml file; an email.message.EmailMessage does as well
complaint = b"""\
From: Bob <bob@example.net>
To: help@example.com
Subject: Where is my pen?
Date: Thu, 01 Oct 2026 09:00:00 +0000
Message-ID: <pen.1@example.net>

I have been waiting for two weeks.
"""

email = Email(
    from_email=sender,
    to=recipients,
    subject="Fwd: Where is my pen?",
    text="Please see to this one.\n",
    attachments=[Attachment.from_message(complaint, filename="complaint.eml")],
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
