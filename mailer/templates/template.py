"""`Template`: the sources of one email. It renders the same anywhere, without any file."""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, Self

import attrs
import msgspec

from mailer.errors import InvalidArgument
from mailer.templates.references import lookup, reachable
from mailer.templates.rendering import HTML, HTML_WITH_CSS, SUBJECT, TEXT, Part

FILES = {"subject": "subject.txt", "text": "body.txt", "html": "body.html"}
_KEPT_COMPILED = 256  # templates


@attrs.frozen
class Rendered:
    """What a template says to one context.

    Attributes:
        subject: one line; empty where the template has none.
        text: ends in a line end.
        html: with its CSS inlined.
    """

    subject: str
    text: str | None = attrs.field(default=None, repr=False)
    html: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Template:
    """The sources of one email, with all that they extend, include and import.

    Templates of the same `sha256` are equal, and share what was compiled.

    Attributes:
        name: of the email.
        sources: the Jinja2 source of each file, by its path in the folder of templates.
        subject, text, html: the paths of the parts; without one, the email has no such part.
        folders: where the name in an ``include`` or the like is looked for, in this order: those
            of the locale, such as ``de/``, then ``""``.
        inline_css: move the rules of ``<style>`` to the elements that they are for.
    """

    name: str
    sources: Mapping[str, str] = attrs.field(repr=False)
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    folders: tuple[str, ...] = ("",)
    inline_css: bool = True

    @classmethod
    def of(
        cls,
        *,
        subject: str = "",
        text: str | None = None,
        html: str | None = None,
        name: str = "template",
        inline_css: bool = True,
    ) -> Self:
        """Make a template of strings, which can't include anything.

        Raises:
            TemplateError: with the line of a syntax error.
        """
        given = {"subject": subject or None, "text": text, "html": html}
        strings = {part: string for part, string in given.items() if string is not None}
        parts = {part: f"{name}/{FILES[part]}" for part in strings}
        sources = {parts[part]: string for part, string in strings.items()}
        return cls(
            name=name,
            sources=reachable(sources.items(), lookup(sources)),
            subject=parts.get("subject"),
            text=parts.get("text"),
            html=parts.get("html"),
            inline_css=inline_css,
        )

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read what `to_json` made.

        Raises:
            InvalidArgument: it is something else.
        """
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.MsgspecError as error:
            raise InvalidArgument("template", f"is not what to_json makes: {error}") from None

    def to_json(self) -> bytes:
        """Write it down: equal templates as the same bytes."""
        return msgspec.json.encode(self, order="deterministic")

    @property
    def sha256(self) -> str:
        """The SHA-256 of `to_json`, in hex."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        # msgspec writes down what is in __dict__, but for names like this one
        return sha256(self.to_json()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def render(self, context: Mapping[str, Any]) -> Rendered:
        """Fill in a context: the same one always gives the same.

        Raises:
            TemplateError: a variable is missing, a value would end the subject, or any other
                mistake; with the file and its line.
        """
        if not isinstance(context, Mapping):
            raise InvalidArgument("context", f"maps names to values; not {type(context).__name__}")
        subject, text, html = _compiled(self)
        return Rendered(
            subject.render(context) if subject else "",
            text.render(context) if text else None,
            html.render(context) if html else None,
        )


@lru_cache(maxsize=_KEPT_COMPILED)
def _compiled(template: Template) -> tuple[Part | None, Part | None, Part | None]:
    find = lookup(template.sources, template.folders)
    kinds = (SUBJECT, TEXT, HTML_WITH_CSS if template.inline_css else HTML)
    paths = (template.subject, template.text, template.html)
    subject, text, html = (
        None if path is None else Part(kind, path, find)
        for kind, path in zip(kinds, paths, strict=True)
    )
    return subject, text, html
