"""Queue letters with this mailer: ``producer.py [--many] COUNT``, in the way of the peers' scripts.

One by one, as views do, or by `enqueue_many`. Timed by ``peers/shared/workload.py``, as theirs are.
"""

import os
import sys

from workload import ATTACHMENT_NAME, ATTACHMENT_TYPE, Letter, run

from mailer import Attachment, Email, Mailer


def email(letter: Letter) -> Email:
    """Write the letter as this mailer has it."""
    return Email(
        from_email=letter["sender"],
        to=letter["to"],
        subject=letter["subject"],
        text=letter["text"],
        html=letter["html"] or None,
        attachments=[_attachment(letter["attachment"])] if letter["attachment"] else [],
    )


def _attachment(content: bytes) -> Attachment:
    return Attachment.from_bytes(content, filename=ATTACHMENT_NAME, content_type=ATTACHMENT_TYPE)


def main() -> None:
    """Queue the letters."""
    with Mailer(os.environ["BENCH_REDIS_URL"]) as mailer:

        def one_by_one(letters: list[Letter]) -> None:
            for letter in letters:
                mailer.enqueue(email(letter))

        def many(letters: list[Letter]) -> None:
            mailer.enqueue_many(email(letter) for letter in letters)

        run(many if "--many" in sys.argv else one_by_one)


if __name__ == "__main__":
    main()
