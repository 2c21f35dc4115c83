"""HTML as a reader without HTML gets it."""

from mailer.errors import InvalidEmail


def text_of(html: str) -> str:
    """Lay HTML out as plain text: paragraphs, lists, tables, and where links lead.

    Raises:
        InvalidEmail: where the library for it is not installed.
    """
    try:
        from inscriptis import get_text  # noqa: PLC0415 - an extra
        from inscriptis.model.config import ParserConfig  # noqa: PLC0415
    except ImportError:
        raise InvalidEmail(
            "text_from_html", "needs inscriptis: pip install 'celery-mailer[html]'"
        ) from None
    text: str = get_text(html, ParserConfig(display_links=True))
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
