"""What is done to a part once it is rendered: plain functions on text."""

import re

import css_inline

from mailer.address import forbidden_in_headers
from mailer.checks import body
from mailer.errors import InvalidEmail

_STYLE = re.compile(r"<style\b", re.IGNORECASE)
# css-inline would apply the rules for a printer to every reader
_STYLE_FOR_SOME = re.compile(r"<style\b(?=[^>]*\smedia\s*=)", re.IGNORECASE)
_EMPTY_STYLE = re.compile(r"<style\b[^>]*></style>")
_INLINER = css_inline.CSSInliner(
    load_remote_stylesheets=False,  # nor those in files
    keep_link_tags=True,
    keep_style_tags=True,
    remove_inlined_selectors=True,  # so that there is left what can't be moved, such as a:hover
)


class Unfit(Exception):
    """A part, or a value in it, that can't be sent; says what is wrong with it."""


def one_line(subject: str) -> str:
    """Make one line of a subject that a layout has spread over several."""
    line = " ".join(filter(None, (line.strip(" \t") for line in subject.split("\n"))))
    if found := forbidden_in_headers(line):
        raise Unfit(f"has the control character {found!a} in it")
    return line


def ended(text: str) -> str:
    """Take empty lines off both ends, and end the last line."""
    lines = encodable(text).strip("\r\n")
    return f"{lines}\n" if lines else ""


def encodable(text: str) -> str:
    """Refuse what UTF-8 can't hold."""
    try:
        return body(text) or ""
    except InvalidEmail as error:
        raise Unfit(error.reason) from None


def inlined(html: str) -> str:
    """Move the rules of ``<style>`` to the elements that they are for.

    What can't be moved stays, such as ``@media`` and ``a:hover``; so does a ``<style media=…>``.
    Without a ``<style>``, nothing is touched.
    """
    if not _STYLE.search(encodable(html)):
        return html
    marked = _STYLE_FOR_SOME.sub('<style data-css-inline="ignore"', html)
    try:
        moved = _INLINER.inline(marked)
    except css_inline.InlineError as error:
        raise Unfit(f"its CSS can't be inlined: {error}") from None
    return _EMPTY_STYLE.sub("", moved)
