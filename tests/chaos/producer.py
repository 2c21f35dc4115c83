"""A producer in a process of its own: enqueues when told to, and tells what was acknowledged."""

import json
import sys

from mailer import Email, Mailer


def main() -> None:
    """Enqueue the emails of these keys: ``python -m chaos.producer KEYS COUNT``."""
    keys, count = sys.argv[1], int(sys.argv[2])
    with Mailer() as mailer:
        mailer.counts()  # connected, and everything imported
        sys.stdin.readline()
        emails = [
            Email(
                from_email="shop@example.com",
                to=f"reader{number}@example.org",
                subject=f"Number {number}",
                text="Hello\n" * 40,
                idempotency_key=f"{keys}-{number}",
            )
            for number in range(count)
        ]
        receipts = mailer.enqueue_many(emails)
        told = [[receipt.id, receipt.message_id] for receipt in receipts]
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
