"""An email from a folder of templates, in each reader's language.

It needs the extra: pip install 'celery-mailer[templates]'

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 python examples/template.py [SENDER RECIPIENT...]
"""

import sys
from pathlib import Path

from mailer import Mailer
from mailer.templates import Templates

sender, *readers = sys.argv[1:] or ["shop@example.com", "ann@example.org", "jm@example.org"]
templates = Templates(Path(__file__).parent / "templates")  # or MAILER_TEMPLATES


def welcome(reader, locale):
    name = reader.partition("@")[0].capitalize()
    return templates.email(
        "welcome",
        {"name": name, "url": f"https://example.com/{name}"},
        locale=locale,
        from_email=sender,
        to=reader,
        tags=["welcome"],
    )


locales = ["en", "de-AT"]  # of whom your database knows; English ones are not in a folder here
with Mailer() as mailer:
    for reader, locale in zip(readers, locales, strict=False):
        print(mailer.enqueue(welcome(reader, locale)).id)
