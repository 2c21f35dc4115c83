"""The messages of all workloads, in one place: ours, the peers' and the bare client's are the same.

In each of them ``{i}`` stands for the number of the email: subject, text and HTML have a line that
no other email has, so that nothing that is kept from one to the next flatters anybody.
"""

import json
from pathlib import Path

from attrs import frozen

from mailer import Email, Priority

SENDER, RECIPIENT = "Shop <shop@example.com>", "Jörg Müller <jm{i}@example.org>"
KB, MB = 1000, 1000 * 1000


@frozen
class Message:
    """What is sent in a workload.

    Attributes:
        attachment: its size in bytes; 0 for none.
        shared: whether all emails have the same attachment.
    """

    name: str
    text: str
    html: str = ""
    subject: str = "Bestellung {i} ✓"
    attachment: int = 0
    shared: bool = False

    def write(self, file: Path) -> Path:
        """Write it as peers read it; see ``peers/shared/workload.py``."""
        fields = {
            "from": SENDER,
            "to": RECIPIENT,
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "attachment": self.attachment,
            "shared": self.shared,
        }
        file.write_text(json.dumps(fields), encoding="utf-8")
        return file

    def email(self, i: int, priority: Priority = Priority.NORMAL) -> Email:
        """Write the email of that number, without its attachment."""
        number = str(i)
        return Email(
            from_email=SENDER,
            to=RECIPIENT.replace("{i}", number),
            subject=self.subject.replace("{i}", number),
            text=self.text.replace("{i}", number),
            html=self.html.replace("{i}", number) or None,
            priority=priority,
        )

    def payload(self, i: int) -> int:
        """Count the bytes that the application hands over."""
        parts = (SENDER, RECIPIENT, self.subject, self.text, self.html)
        return sum(len(part.replace("{i}", str(i)).encode()) for part in parts) + self.attachment


def _text(size: int) -> str:
    line = "A line of a letter to customer {i}, as they are.\n"
    rest = "A line of a letter, as all of them are, with a few words in it.\n"
    return line + rest * ((size - len(line)) // len(rest))


def _html(size: int) -> str:
    line = "<p>Liebe Kundin {i}, danke für Ihre Bestellung {i}.</p>\n"
    rest = "<p>Absatz eines Briefes: viele schöne Grüße</p>\n"
    body = line + rest * ((size - len(line)) // len(rest))
    return f"<html><body>\n{body}</body></html>\n"


MAIN = Message("4 KB, text and HTML", _text(1800), _html(2200))
SMALL = Message("1 KB of text", _text(1 * KB))
LARGE = Message("100 KB, text and HTML", _text(30 * KB), _html(70 * KB))
ATTACHED = Message("1 MB attached, each its own", _text(1 * KB), attachment=1 * MB)
SHARED = Message("1 MB attached, all the same", _text(1 * KB), attachment=1 * MB, shared=True)
