"""A Django project that has nothing but django-celery-email, at that package's own settings."""

import os

SECRET_KEY = "of a benchmark"
USE_TZ = True
INSTALLED_APPS = ["djcelery_email"]
EMAIL_BACKEND = "djcelery_email.backends.CeleryEmailBackend"
EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = "127.0.0.1", int(os.environ["BENCH_SMTP_PORT"]), 30
CELERY_EMAIL_CHUNK_SIZE = int(os.environ["BENCH_CHUNK"])
CELERY_BROKER_URL = os.environ["BENCH_REDIS_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_PREFETCH_MULTIPLIER = int(os.environ["BENCH_PREFETCH"])
