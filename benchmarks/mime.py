"""Building messages: ours against `email.message.EmailMessage` and Django's, in one run.

Django is installed in an environment of its own, .venv-peers; without --peers it is left out.
All build the same messages, each with texts and headers of its own, alternately and several times
over. Takes some 40 s. See docs/decisions/0009.
"""

import json
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

ROUNDS = 7
PEERS = Path(__file__).parents[1] / ".venv-peers"
Build = Callable[[dict[str, Any]], Any]


def letter(i: int) -> dict[str, Any]:
    """Make 4 KB of text and HTML, and headers in UTF-8."""
    line = f"Grüße aus Köln, Nr. {i} — thank you for your order, it will be with you soon."
    row = f'<p style="color:#333">{line}</p>\n'
    return {
        "from": "Größe Shop <shop@example.com>",
        "to": f"Jörg Müller {i} <jm{i}@example.org>",
        "subject": f"Ihre Bestellung {i} ✓ ist unterwegs nach Köln",
        "text": (f"{line}\n" * 20)[:1300],
        "html": f"<html><body>{(row * 30)[:2700]}</body></html>",
    }


def newsletter(i: int) -> dict[str, Any]:
    """Make the same letter to somebody else."""
    return {**letter(0), "to": letter(i)["to"]}


def with_attachment(i: int) -> dict[str, Any]:
    """Make a short letter with an attachment of 1 MB, which all of them share."""
    return {**letter(i), "html": "", "attachment": bytes(range(256)) * 4096}


WORKLOADS = {
    "4 KB text + HTML": (letter, 400, 40),
    "the same to many": (newsletter, 400, 40),
    "1 MB attachment": (with_attachment, 20, 5),
}


def with_ours(*, eight_bit: bool) -> Build:
    """Build as a worker does."""
    from mailer.address import Address
    from mailer.message import AttachmentRef, Message, Source
    from mailer.mime import build, encode_attachment

    def one(mail: dict[str, Any]) -> Any:
        data = mail.get("attachment")
        reference = AttachmentRef("a.pdf", "application/pdf", Source("0", len(data or b"")))
        message = Message(
            message_id="<42.7f3a@example.com>",
            from_email=mail["sender"],
            to=(mail["recipient"],),
            date=1_795_422_240,
            subject=mail["subject"],
            text=mail["text"],
            html=mail["html"],
            attachments=(reference,) if data else (),
        )
        content = [encode_attachment("application/pdf", data, eight_bit=False)] if data else []
        return build(message, content, eight_bit=eight_bit).segments()

    def prepared(mail: dict[str, Any]) -> dict[str, Any]:
        # a stored message has its addresses parsed
        parse = Address.parse
        return {**mail, "sender": parse(mail["from"]), "recipient": parse(mail["to"])}

    one.prepared = prepared  # type: ignore[attr-defined]
    return one


def with_email_message(mail: dict[str, Any]) -> bytes:
    """Build as the standard library's documentation shows."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = mail["from"], mail["to"], mail["subject"]
    message["Date"] = "Mon, 23 Nov 2026 08:24:00 +0000"
    message["Message-ID"] = "<42.7f3a@example.com>"
    message.set_content(mail["text"])
    if mail["html"]:
        message.add_alternative(mail["html"], subtype="html")
    if data := mail.get("attachment"):
        message.add_attachment(data, maintype="application", subtype="pdf", filename="a.pdf")
    return message.as_bytes()


def with_django() -> Build:
    """Build as Django's SMTP backend does."""
    import django
    from django.conf import settings
    from django.core.mail import EmailMultiAlternatives

    settings.configure()
    django.setup()

    def one(mail: dict[str, Any]) -> bytes:
        headers = {"Date": "Mon, 23 Nov 2026 08:24:00 +0000", "Message-ID": "<42@example.com>"}
        message = EmailMultiAlternatives(
            mail["subject"], mail["text"], mail["from"], [mail["to"]], headers=headers
        )
        if mail["html"]:
            message.attach_alternative(mail["html"], "text/html")
        if data := mail.get("attachment"):
            message.attach("a.pdf", data, "application/pdf")
        return bytes(message.message().as_bytes(linesep="\r\n"))

    return one


def microseconds(build: Build, workload: str, which: int) -> float:
    """Build the messages of a workload; return the time for each."""
    make, *counts = WORKLOADS[workload]
    mails = [make(i) for i in range(counts[which])]
    if prepared := getattr(build, "prepared", None):
        mails = [prepared(mail) for mail in mails]
    begin = time.perf_counter()
    for mail in mails:
        build(mail)
    return (time.perf_counter() - begin) / len(mails) * 1e6


def serve_django() -> None:
    """Answer each workload's name with the time that Django takes for it."""
    build = with_django()
    for line in sys.stdin:
        print(microseconds(build, line.strip(), 1), flush=True)


class Django:
    """Django in a process of its own environment."""

    def __init__(self) -> None:
        python = PEERS / "bin" / "python"
        if not python.exists():
            venv.create(PEERS, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "django"], check=True)
        self._process = subprocess.Popen(
            [python, __file__, "--serve-django"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def microseconds(self, workload: str) -> float:
        """Have a workload built there."""
        assert self._process.stdin
        assert self._process.stdout
        print(workload, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Print, for each workload, the medians and how many times faster ours is."""
    if "--serve-django" in sys.argv:
        serve_django()
        return
    ours, ours_7bit = with_ours(eight_bit=True), with_ours(eight_bit=False)
    peers: dict[str, Callable[[str], float]] = {
        "EmailMessage": lambda workload: microseconds(with_email_message, workload, 1)
    }
    django = Django() if "--peers" in sys.argv else None
    if django:
        peers["Django"] = django.microseconds
    report: dict[str, dict[str, float]] = {}
    for workload in WORKLOADS:
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            times.setdefault("ours", []).append(microseconds(ours, workload, 0))
            times.setdefault("ours, 7 bits", []).append(microseconds(ours_7bit, workload, 0))
            for name, measure in peers.items():
                times.setdefault(name, []).append(measure(workload))
        print(f"{workload}:")
        base = times["ours"]
        for name, found in times.items():
            ratios = [theirs / mine for theirs, mine in zip(found, base, strict=True)]
            spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
            median = statistics.median(found)
            print(f"  {name:14} {median:10,.1f} µs  x{statistics.median(ratios):.1f} {spread}")
            report.setdefault(workload, {})[name] = round(median, 1)
    if django:
        django.close()
    if "--json" in sys.argv:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
