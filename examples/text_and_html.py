"""An email in two forms: HTML, and plain text for readers and programs that don't show HTML.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/text_and_html.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Email, Mailer

sender, *recipients = sys.argv[1:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]

email = Email(
    from_email=sender,
    to=recipients,
    reply_to="help@example.com",
    subject="Your order is on its way ✓",
    text="Your order left us today.\n\nThe shop\n",
    html="<p>Your order left us <b>today</b>.</p><p>The shop</p>",
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
