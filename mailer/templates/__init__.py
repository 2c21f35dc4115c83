"""Emails from Jinja2 templates: `Templates` reads a folder of them, a `Template` renders one.

A `Letter` is one email for many, for `Mailer.enqueue_batch`.
"""

try:
    import css_inline as _css_inline  # noqa: F401 - an extra
    import jinja2 as _jinja2  # noqa: F401 - likewise
except ImportError as error:
    raise ImportError(
        "mailer.templates needs Jinja2 and css-inline: pip install 'celery-mailer[templates]'"
    ) from error

from mailer.templates.letter import Letter
from mailer.templates.library import Templates
from mailer.templates.template import Rendered, Template

__all__ = ["Letter", "Rendered", "Template", "Templates"]
