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


def reachable(names: Iterable[str], find: Find) -> dict[str, str]:
    """Collect the sources of templates, and of all that these refer to, by their paths.

    Args:
        find: gives the path and the source to a name, where there is such a template.

    Raises:
        TemplateError: a syntax error, a name that is computed, or one that there is not.
    """
    sources: dict[str, str] = {}
    waiting = [found for name in names if (found := find(name))]
    while waiting:
        path, source = waiting.pop()
        if path in sources:
            continue
        sources[path] = source
        for line, wanted, may_be_missing in _references(path, source):
            # Jinja2 takes the first of several that there is
            found = next(filter(None, map(find, wanted)), None)
            if found:
                waiting.append(found)
            elif not may_be_missing:
                named = " or ".join(map(repr, wanted))
                raise TemplateError(f"{path}:{line}", f"there is no template {named}")
    return sources


def _references(path: str, source: str) -> Iterator[tuple[int, list[str], bool]]:
    """Yield the line of each reference, the names that would do, and whether it may be missing."""
    try:
        tree = PLAIN.parse(encodable(source), filename=path)
        PLAIN.compile(source, path, path)  # finds more, such as a filter that there is not
    except jinja2.TemplateSyntaxError as error:
        raise syntax_error(error) from None
    except Unfit as error:
        raise TemplateError(path, str(error)) from None
    for node in tree.find_all(_REFERENCES):
        try:
            value = node.template.as_const()  # type: ignore[attr-defined]  # all of these have one
        except nodes.Impossible:
            value = None
        wanted = [value] if isinstance(value, str) else value
        if not isinstance(wanted, list | tuple) or not all(isinstance(n, str) for n in wanted):
            raise TemplateError(
                f"{path}:{node.lineno}",
                "a template's name is computed; write it out, so that all that belongs to an "
                "email is known",
            )
        yield node.lineno, list(wanted), getattr(node, "ignore_missing", False)
