"""An invitation that mail programs show with buttons to accept and decline (RFC 6047).

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/invitation.py [ORGANIZER ATTENDEE]
"""

import sys
import uuid
from datetime import UTC, datetime, timedelta

from mailer import Email, Mailer

organizer, attendee = sys.argv[1:] or ["shop@example.com", "ann@example.org"]
now = datetime.now(UTC)
begin = now + timedelta(days=7)

calendar = f"""\
BEGIN:VCALENDAR
PRODID:-//example.com//shop//EN
VERSION:2.0
METHOD:REQUEST
BEGIN:VEVENT
UID:{uuid.uuid4()}@example.com
DTSTAMP:{now:%Y%m%dT%H%M%SZ}
DTSTART:{begin:%Y%m%dT%H%M%SZ}
DURATION:PT1H
SUMMARY:Your fitting
ORGANIZER:mailto:{organizer}
ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{attendee}
END:VEVENT
END:VCALENDAR
"""

email = Email(
    from_email=organizer,
    to=attendee,
    subject="Your fitting",
    text=f"Your fitting is on {begin:%d %B, %H:%M} UTC.\n",
    calendar=calendar,
)

with Mailer() as mailer:
    print(mailer.enqueue(email).id)
