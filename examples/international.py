"""Addresses beyond ASCII.

A display name or a domain in any script reaches everybody: names are written as encoded words
(RFC 2047), domains as A-labels (RFC 5890). A local part beyond ASCII needs a relay that offers
SMTPUTF8 (RFC 6531); without it that email fails, and the reason is on record.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/international.py [SENDER RECIPIENT...]
"""

import sys

from mailer import Email, Mailer

sender, *recipients = sys.argv[1:] or [
    "Bücher Müller <laden@bücher.example>",
    "山田太郎 <yamada@例え.example>",
    "Jörg <jörg@bücher.example>",
]

with Mailer() as mailer:
    for recipient in recipients:
        email = Email(from_email=sender, to=recipient, subject="Grüße ✓", text="Schöne Grüße\n")
        print(mailer.enqueue(email).id)
