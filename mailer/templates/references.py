"""What a template extends, includes and imports."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import jinja2
from jinja2 import nodes

from mailer.errors import TemplateError
from mailer.templates.finishing import Unfit, encodable
from mailer.templates.rendering import PLAIN, Find, syntax_error

_REFERENCES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


def lookup(sources: Mapping[str, str], folders: Sequence[str] = ("",)) -> Find:
    """Look names up in sources by their paths, in the first of the folders that has one."""

    def find(name: str) -> tuple[str, str] | None:
        paths = (folder + name for folder in folders)
        return next(((path, sources[path]) for path in paths if path in sources), None)

    return find


def check_name(name: str, place: str) -> None:
    """Refuse a name that could lead anywhere but into the folder of templates.

    Raises:
        TemplateError: of this place.
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    if {"", ".", ".."} & {*parts} or any(c in name for c in "\\\0"):
        raise TemplateError(place, f"{name!r} is no name of a template, as orders/shipped is one")


def reachable(parts: Iterable[tuple[str, str]], find: Find) -> dict[str, str]:
    """Collect sources by their paths: of an email's parts, and of all that these refer to.

    Args:
        parts: the path and the source of each.
        find: gives the path and the source to a name.

    Raises:
        TemplateError: a syntax error, a name that is computed, or one that there is not.
    """
    sources: dict[str, str] = {}
    waiting = list(parts)
    while waiting:
        path, source = waiting.pop()
        if path in sources:
            continue
        sources[path] = source
        for place, wanted, may_be_missing in _references(path, source):
            for name in wanted:
                check_name(name, place)
            # Jinja2 takes the first of several that there is
            found = next(filter(None, map(find, wanted)), None)
            if found:
                waiting.append(found)
            elif not may_be_missing:
                named = " or ".join(map(repr, wanted))
                raise TemplateError(place, f"there is no template {named}")
    return sources


def _references(path: str, source: str) -> Iterator[tuple[str, list[str], bool]]:
    """Yield the place of each reference, the names that would do, and whether it may be missing."""
    try:
        tree = PLAIN.parse(encodable(source), filename=path)
        PLAIN.compile(source, path, path)  # finds more, such as a filter that there is not
    except jinja2.TemplateSyntaxError as error:
        raise syntax_error(error, path) from None
    except Unfit as error:
        raise TemplateError(path, str(error)) from None
    for node in tree.find_all(_REFERENCES):
        place = f"{path}:{node.lineno}"
        try:
            value = node.template.as_const()  # type: ignore[attr-defined]  # all of these have one
        except nodes.Impossible:
            value = None
        wanted = [value] if isinstance(value, str) else value
        if not isinstance(wanted, list | tuple) or not all(isinstance(n, str) for n in wanted):
            raise TemplateError(
                place,
                "the name of a template is computed; write it out, so that all that belongs to "
                "the email is known",
            )
        yield place, list(wanted), getattr(node, "ignore_missing", False)
