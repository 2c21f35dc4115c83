"""A message that Python's standard library built, delivered as it is.

Any library that gives an EmailMessage or the bytes of an .eml file will do.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/prepared_message.py [SENDER RECIPIENT...]
"""

import sys
from email.message import EmailMessage

from mailer import Email, Mailer

sender, *recipients = sys.argv[1:] or ["Shop <shop@example.com>", "Ann <ann@example.org>"]

message = EmailMessage()
message["From"] = sender
message["To"] = ", ".join(recipients)
message["Bcc"] = "archive@example.com"  # gets it; the field is taken out
message["Subject"] = "Built elsewhere ✓"
message.set_content("Built by email.message.\n")
message.add_alternative("<p>Built by <code>email.message</code>.</p>", subtype="html")
message.add_attachment(b"item,price\npen,2\n", maintype="text", subtype="csv", filename="order.csv")

# what is no content is given here: times, tags, the envelope sender, other recipients
email = Email.from_message(message, envelope_sender="bounces@example.com", tags=["order"])

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
