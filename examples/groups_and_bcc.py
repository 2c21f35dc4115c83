"""Recipients in a group, secret recipients, and a recipient list that shows nobody.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/groups_and_bcc.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Address, Email, Group, Mailer

sender, *recipients = sys.argv[1:] or ["Shop <shop@example.com>", "ann@example.org"]
members = tuple(Address.parse(recipient) for recipient in recipients)

emails = [
    # To: Fountain pen club: ann@example.org;
    Email(
        from_email=sender,
        to=Group("Fountain pen club", members),
        cc="Bob <bob@example.org>",
        bcc="archive@example.com",  # written nowhere in the message
        subject="We meet on Friday",
        text="At seven.\n",
    ),
    # To: undisclosed-recipients:;
    Email(from_email=sender, bcc=recipients, subject="A surprise", text="For you alone.\n"),
]

with Mailer() as mailer:
    for receipt in mailer.enqueue_many(emails):
        print(receipt.id)
