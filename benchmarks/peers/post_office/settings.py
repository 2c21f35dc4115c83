"""A Django project that has nothing but django-post-office.

SQLite, because a fresh machine has no PostgreSQL; in WAL mode, so that readers and a writer don't
wait for each other.
"""

import os
from pathlib import Path

FOLDER = Path(os.environ["BENCH_FOLDER"])
SECRET_KEY = "of a benchmark"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "post_office"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "post_office.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
MEDIA_ROOT = FOLDER / "media"  # attachments
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", int(os.environ["BENCH_SMTP_PORT"]), 30
POST_OFFICE = {
    "BATCH_SIZE": int(os.environ["BENCH_BATCH"]),
    "THREADS_PER_PROCESS": int(os.environ["BENCH_THREADS"]),
    "MAX_RETRIES": 3,
}
