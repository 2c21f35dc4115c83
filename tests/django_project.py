"""A Django project for tests: importing this sets Django up, once in a process.

Tests of Django run in one process with all others, and so there is one project for all of them.
"""

import django
from django.conf import settings
from django.urls import path

DOMAIN = "shop.example"  # of Message-IDs that Django makes up: the host's own name may take long
# what is on its way out in one Django, and still promised in another
DEPRECATED = ("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

urlpatterns: list = []

if not settings.configured:
    settings.configure(
        SECRET_KEY="for tests",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "mailer.contrib.django",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ROOT_URLCONF="django_project",
        ALLOWED_HOSTS=["testserver"],
        STATIC_URL="static/",
        DEFAULT_FROM_EMAIL="Shop <shop@example.com>",
        SERVER_EMAIL="server@example.com",
        TIME_ZONE="UTC",  # Django makes it that of the whole process
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )
    django.setup()

    from django.contrib import admin
    from django.core.mail.utils import DNS_NAME

    urlpatterns.append(path("admin/", admin.site.urls))
    DNS_NAME._fqdn = DOMAIN
