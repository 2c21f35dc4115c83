"""Send letters with fastapi-mail, which has no queue: ``enqueue.py [--many] COUNT``.

Each letter in a ``send_message`` of its own, which opens a connection, BENCH_CONCURRENCY of them at
a time; or as many lists of letters at a time, each list of 100 on one connection. BENCH_PROCESSES
stand for those of a web server.
"""

import asyncio
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from email.utils import parseaddr
from io import BytesIO

from fastapi_mail import ConnectionConfig, FastMail, MessageSchema, MessageType
from fastapi_mail.schemas import MultipartSubtypeEnum
from starlette.datastructures import Headers, UploadFile
from workload import ATTACHMENT_NAME, ATTACHMENT_TYPE, Letter, run

PROCESSES, CONCURRENCY = int(os.environ["BENCH_PROCESSES"]), int(os.environ["BENCH_CONCURRENCY"])
LIST = 100
mailer = FastMail(
    ConnectionConfig(
        MAIL_USERNAME="",
        MAIL_PASSWORD="",
        MAIL_FROM="shop@example.com",
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=int(os.environ["BENCH_SMTP_PORT"]),
        MAIL_STARTTLS=False,
        MAIL_SSL_TLS=False,
        USE_CREDENTIALS=False,
    )
)


def message(letter: Letter) -> MessageSchema:
    """Write the letter as fastapi-mail has it; the body comes first, so it is the plain one."""
    name, address = parseaddr(letter["sender"])
    files = []
    if letter["attachment"]:
        headers = Headers({"content-type": ATTACHMENT_TYPE})
        files = [
            UploadFile(BytesIO(letter["attachment"]), filename=ATTACHMENT_NAME, headers=headers)
        ]
    return MessageSchema(
        recipients=[letter["to"]],
        from_email=address,
        from_name=name,
        subject=letter["subject"],
        subtype=MessageType.plain,
        body=letter["text"],
        alternative_body=letter["html"] or None,
        multipart_subtype=MultipartSubtypeEnum.alternative,
        attachments=files,
    )


async def send_all(letters: list[Letter], size: int) -> None:
    """Send lists of that size, so many at a time."""
    turns = asyncio.Semaphore(CONCURRENCY)

    async def send(some: list[Letter]) -> None:
        async with turns:
            await mailer.send_message([message(letter) for letter in some])

    await asyncio.gather(*(send(letters[i : i + size]) for i in range(0, len(letters), size)))


def send(letters: list[Letter]) -> None:
    """Send what one process of the web server has to send."""
    asyncio.run(send_all(letters, LIST if "--many" in sys.argv else 1))


with ProcessPoolExecutor(PROCESSES) as pool:
    run(lambda letters: list(pool.map(send, (letters[i::PROCESSES] for i in range(PROCESSES)))))
