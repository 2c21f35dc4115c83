"""One part of an email, such as its subject: compiled by Jinja2, rendered in its sandbox."""

from collections.abc import Callable, Mapping
from traceback import walk_tb
from typing import Any

import attrs
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mailer.address import forbidden_in_headers
from mailer.errors import TemplateError
from mailer.templates.finishing import Unfit, encodable, ended, inlined, one_line

Find = Callable[[str], tuple[str, str] | None]


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # trim_blocks takes the line end after an include; the one inside stands for it
        keep_trailing_newline=True,
        auto_reload=False,
    )
    # what is rendered again must be the same
    del environment.filters["random"], environment.globals["lipsum"]
    return environment


def _checked_for_a_header(value: Any) -> str:
    """Refuse a value that would end the header; the line ends of a layout are taken out later."""
    text = str(value)
    if found := forbidden_in_headers(text):
        raise Unfit(f"a value has the control character {found!a} in it")
    return text


@attrs.frozen
class Kind:
    """How a part is rendered, and what is done to it then.

    The kind decides what is escaped, not the names of the files that a part includes: a partial
    that text and HTML share is safe in both.
    """

    environment: jinja2.Environment
    finish: Callable[[str], str]


PLAIN = _environment()
SUBJECT = Kind(PLAIN.overlay(finalize=_checked_for_a_header), one_line)
TEXT = Kind(PLAIN, ended)
HTML = Kind(PLAIN.overlay(autoescape=True), encodable)
HTML_WITH_CSS = Kind(HTML.environment, inlined)


class Part:
    """A part of one email.

    Args:
        path: of its source.
        find: gives the path and the source to a name.

    Raises:
        TemplateError: a syntax error.
    """

    def __init__(self, kind: Kind, path: str, find: Find) -> None:
        def load(name: str) -> tuple[str, str, None] | None:
            found = find(name)
            return (found[1], found[0], None) if found else None

        self._path = path
        self._finish = kind.finish
        environment = kind.environment.overlay(loader=jinja2.FunctionLoader(load))
        try:
            self._template = environment.get_template(path)
        except jinja2.TemplateError as error:
            raise self._told(error) from None

    def render(self, context: Mapping[str, Any]) -> str:
        """Fill in the context.

        Raises:
            TemplateError: with the file and, where there is one, the line.
        """
        try:
            text = self._template.render(context)
        except Exception as error:  # also what the context's own objects raise
            raise self._told(error) from error
        try:
            return self._finish(text)
        except Unfit as error:
            raise TemplateError(self._path, str(error)) from None

    def _told(self, error: Exception) -> TemplateError:
        if isinstance(error, jinja2.TemplateSyntaxError):
            return syntax_error(error, self._path)
        return TemplateError(self._place(error), _reason(error))

    def _place(self, error: Exception) -> str:
        """Name the line of a template in which an error happened; Jinja2 has put it there."""
        place = self._path
        for frame, line in walk_tb(error.__traceback__):
            if "__jinja_exception__" in frame.f_globals:
                place = f"{frame.f_code.co_filename}:{line}"
        return place


def syntax_error(error: jinja2.TemplateSyntaxError, path: str) -> TemplateError:
    """Say where and what it is; the path is for those errors that don't know theirs."""
    place = f"{error.filename or path}:{error.lineno}"
    return TemplateError(place, error.message or "a syntax error")


def _reason(error: Exception) -> str:
    match error:
        case jinja2.TemplateNotFound():
            return f"there is no template {error.name!r}"
        case jinja2.TemplateError() | Unfit():
            return str(error)
        case RecursionError():
            return "it includes or extends itself without an end"
        case _:  # of the message, nobody knows what values it quotes
            return f"{type(error).__name__} in an expression"
