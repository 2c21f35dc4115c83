"""What people write who send email with Celery alone: one task, one connection, one email."""

import asyncio
import os
import smtplib
from email.message import EmailMessage
from email.utils import localtime, make_msgid

import aiosmtplib
from celery import Celery
from workload import ATTACHMENT_NAME, ATTACHMENT_TYPE, Letter

HOST, PORT, TIMEOUT = "127.0.0.1", int(os.environ["BENCH_SMTP_PORT"]), 30
RELIABLY = {"acks_late": True, "retry_backoff": True, "max_retries": 5}

app = Celery("tasks", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
)


def message(letter: Letter) -> EmailMessage:
    """Write the letter as the standard library has it."""
    email = EmailMessage()
    email["From"] = letter["sender"]
    email["To"] = letter["to"]
    email["Subject"] = letter["subject"]
    email["Date"] = localtime()
    email["Message-ID"] = make_msgid(domain="example.com")
    email.set_content(letter["text"])
    if letter["html"]:
        email.add_alternative(letter["html"], subtype="html")
    if letter["attachment"]:
        maintype, subtype = ATTACHMENT_TYPE.split("/")
        email.add_attachment(
            letter["attachment"], maintype=maintype, subtype=subtype, filename=ATTACHMENT_NAME
        )
    return email


@app.task(autoretry_for=(OSError,), **RELIABLY)  # smtplib's errors are OSErrors
def with_smtplib(letter: Letter) -> None:
    with smtplib.SMTP(HOST, PORT, timeout=TIMEOUT) as smtp:
        smtp.send_message(message(letter))


@app.task(autoretry_for=(OSError, aiosmtplib.SMTPException), **RELIABLY)
def with_aiosmtplib(letter: Letter) -> None:
    asyncio.run(aiosmtplib.send(message(letter), hostname=HOST, port=PORT, timeout=TIMEOUT))


@app.task
def empty() -> None:
    """Do nothing: what Celery itself takes, a limit for all that send one email per task."""
