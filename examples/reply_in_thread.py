"""Two answers that mail programs show in one thread with what they answer.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/reply_in_thread.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Email, Mailer

sender, *recipients = sys.argv[1:] or ["Help <help@example.com>", "Bob <bob@example.net>"]
question = "<pen.1@example.net>"  # the Message-ID of what the customer wrote

with Mailer() as mailer:
    first = mailer.enqueue(
        Email(
            from_email=sender,
            to=recipients,
            subject="Re: Where is my pen?",
            text="We are looking into it.\n",
            in_reply_to=question,  # and References, where it is not given
        )
    )
    second = mailer.enqueue(
        Email(
            from_email=sender,
            to=recipients,
            subject="Re: Where is my pen?",
            text="It will be with you tomorrow.\n",
            in_reply_to=first.message_id,
            references=[question, first.message_id],
        )
    )
    print(first.id)
    print(second.id)
