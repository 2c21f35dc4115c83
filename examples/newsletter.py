"""A newsletter: one email for each reader, of low importance, with a link to leave the list.

Its plain text is derived from the HTML: pip install 'celery-mailer[html]'

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/newsletter.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Email, Mailer

sender, *readers = sys.argv[1:] or ["news@example.com", "ann@example.org", "bob@example.org"]

html = '<h1>October</h1><p>We have <a href="https://example.com/pens">new pens</a>.</p>'
amp = """<!doctype html><html ⚡4email data-css-strict><head><meta charset="utf-8">
<script async src="https://cdn.ampproject.org/v0.js"></script>
<style amp4email-boilerplate>body{visibility:hidden}</style></head>
<body><h1>October</h1></body></html>"""


def issue(number, reader):
    return Email(
        from_email=sender,
        to=reader,
        subject="October: new pens",
        html=html,
        text_from_html=True,
        amp=amp,
        list_unsubscribe=[
            f"https://example.com/leave?reader={number}",
            f"mailto:leave@example.com?subject={number}",
        ],
        one_click_unsubscribe=True,  # your server takes a POST to the https one (RFC 8058)
        auto_submitted="auto-generated",
        importance="low",
        priority="low",  # behind all other emails in the queue
        idempotency_key=f"october-{reader}",
    )


with Mailer() as mailer:
    for receipt in mailer.enqueue_many(issue(*numbered) for numbered in enumerate(readers, 1)):
        print(receipt.id)
