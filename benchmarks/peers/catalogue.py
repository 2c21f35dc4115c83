"""All peers, each in its best layout, or its default where none was better; see ``layouts.md``."""

from .peer import Peer

_CELERY = ("-m", "celery", "-A")
# gossip, mingle and heartbeats serve several workers, and INFO logs each task: both only cost
_WORKER = (
    *("worker", "-c", "{processes}", "-l", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)

PEERS = (
    Peer(
        name="post_office",
        label="django-post-office",
        folder="post_office",
        enqueue=("enqueue.py",),
        enqueue_many=("enqueue.py", "--many"),
        worker=(
            "manage.py",
            "send_queued_mail",
            "--processes",
            "{processes}",
            "--lockfile",
            "{folder}/post_office",
        ),
        processes=2,
        settings={"BENCH_BATCH": "1000", "BENCH_THREADS": "5"},
        ends=True,
    ),
    Peer(
        name="celery_email_single",
        label="django-celery-email, one by one",
        folder="celery_email",
        enqueue=("enqueue.py",),
        worker=(*_CELERY, "project", *_WORKER),
        processes=4,
        settings={"BENCH_PREFETCH": "4", "BENCH_CHUNK": "1"},
    ),
    Peer(
        name="celery_email_bulk",
        label="django-celery-email, in bulk",
        folder="celery_email",
        enqueue=("enqueue.py", "--many"),
        worker=(*_CELERY, "project", *_WORKER),
        processes=2,
        settings={"BENCH_PREFETCH": "4", "BENCH_CHUNK": "100"},
    ),
    Peer(
        name="celery_smtplib",
        label="Celery + smtplib",
        folder="celery_tasks",
        enqueue=("enqueue.py", "smtplib"),
        worker=(*_CELERY, "tasks", *_WORKER),
        processes=4,
        settings={"BENCH_PREFETCH": "4"},
    ),
    Peer(
        name="celery_aiosmtplib",
        label="Celery + aiosmtplib",
        folder="celery_tasks",
        enqueue=("enqueue.py", "aiosmtplib"),
        worker=(*_CELERY, "tasks", *_WORKER),
        processes=4,
        settings={"BENCH_PREFETCH": "4"},
    ),
    Peer(
        name="fastapi_mail",
        label="fastapi-mail, no queue",
        folder="fastapi_mail",
        enqueue=("enqueue.py",),
        processes=2,
        settings={"BENCH_CONCURRENCY": "20"},
    ),
    Peer(
        name="fastapi_mail_list",
        label="fastapi-mail, lists of 100, no queue",
        folder="fastapi_mail",
        enqueue=("enqueue.py", "--many"),
        processes=2,
        settings={"BENCH_CONCURRENCY": "10"},
    ),
    Peer(
        name="celery_empty",
        label="Celery, an empty task",
        folder="celery_tasks",
        enqueue=("enqueue.py", "empty"),
        worker=(*_CELERY, "tasks", *_WORKER),
        processes=4,
        settings={"BENCH_PREFETCH": "4"},
        counted_by="broker",
    ),
)
