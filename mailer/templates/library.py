"""`Templates`: the emails of an application by name and locale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mailer.email import Email
from mailer.errors import InvalidArgument, TemplateError
from mailer.loading import current_settings
from mailer.templates.folder import Folder
from mailer.templates.locales import fallbacks
from mailer.templates.references import check_name, reachable
from mailer.templates.rendering import Find
from mailer.templates.samples import SAMPLES, read_sample
from mailer.templates.template import FILES, Template

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Templates:
    """The templates of an application: a folder, and in it one for each email.

    ``welcome/subject.txt``, ``welcome/body.txt`` and ``welcome/body.html`` are the email
    ``welcome``; ``de/welcome/…`` is the same in German.

    Args:
        folder: without it, that of ``MAILER_TEMPLATES``.
        default_locale: where no locale is given, or there is no template in it.
        inline_css: see `Template`.
        reload: read the files again for every email, for development.

    Raises:
        InvalidArgument: there is no such folder.
        TemplateError: the locale is none.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        default_locale: str | None = None,
        inline_css: bool = True,
        reload: bool = False,
    ) -> None:
        root = Path(current_settings().templates if folder is None else folder).resolve()
        if not root.is_dir():
            raise InvalidArgument(
                "folder", f"there is no folder {root}; name another, or set MAILER_TEMPLATES"
            )
        self._folder = Folder(root)
        self._default = fallbacks(default_locale) if default_locale else []
        self._inline_css = inline_css
        self._reload = reload
        self._locales = self._folder.locales()
        self._loaded: dict[tuple[str, tuple[str, ...]], Template] = {}

    def email(
        self,
        name: str,
        context: Mapping[str, Any] = _NOTHING,
        /,
        *,
        locale: str | None = None,
        **fields: Any,
    ) -> Email:
        """Make an email of a template.

        Where there is no ``body.txt``, its plain text is derived from the HTML.

        Args:
            name: of the template, such as ``welcome``.
            context: its variables.
            locale: of the reader, such as ``de-AT``.
            fields: those of `Email`; they win over what the template says.

        Raises:
            TemplateError: there is no such template, or there is a mistake in it, or a variable
                is missing.
            InvalidEmail: as of `Email`.
        """
        template = self.load(name, locale)
        if template.subject is None and "subject" not in fields:
            raise TemplateError(name, f"has no {FILES['subject']}; write it, or give a subject")
        rendered = template.render(context)
        content = {"subject": rendered.subject, "text": rendered.text, "html": rendered.html}
        whole: dict[str, Any] = content | fields
        if whole["text"] is None and whole["html"]:
            whole.setdefault("text_from_html", True)
        return Email(**whole)

    def load(self, name: str, locale: str | None = None) -> Template:
        """Read a template and all that it includes; once, if not told to reload.

        Where the locale has no such template, its language's is taken; then that of the default
        locale; then the one outside of all locales' folders.

        Raises:
            TemplateError: there is no such template, or a file of it can't be used.
        """
        check_name(name, "template")
        if self._reload:
            self._locales = self._folder.locales()
        languages = self._languages(locale)
        key = name, _joined(languages)
        template = None if self._reload else self._loaded.get(key)
        if template is None:
            template = self._loaded[key] = self._read(name, languages)
        return template

    def names(self) -> list[str]:
        """Name all templates, sorted."""
        return sorted(self._folder.templates())

    def locales(self, name: str) -> list[str]:
        """Name the locales' folders that have this template, sorted."""
        return sorted(self._folder.templates().get(name, set()) - {""})

    def sample(self, name: str, locale: str | None = None) -> dict[str, Any] | None:
        """Read the sample data of a template, if it has any: ``sample.json`` or ``sample.toml``.

        Raises:
            TemplateError: the file can't be read.
        """
        check_name(name, "template")
        for folder in _joined(self._languages(locale)):
            for sample in SAMPLES:
                path = f"{folder}{name}/{sample}"
                if file := self._folder.file(path):
                    return read_sample(file, path)
        return None

    def _languages(self, locale: str | None) -> list[list[str]]:
        """List the folders to look into, those of one language together."""
        wanted = [fallbacks(locale) if locale else [], self._default]
        found = [
            [f"{self._locales[tag]}/" for tag in tags if tag in self._locales] for tags in wanted
        ]
        return [*filter(None, found), [""]]

    def _read(self, name: str, languages: Sequence[Sequence[str]]) -> Template:
        # the parts of one email are in one language; what they include may be in any
        for language in languages:
            find = self._find_in(language)
            parts = {
                part: found for part, file in FILES.items() if (found := find(f"{name}/{file}"))
            }
            if parts:
                break
        else:
            known = ", ".join(self.names()) or "none"
            raise TemplateError(
                name, f"there is no such template in {self._folder.root}; there are: {known}"
            )
        folders = _joined(languages)
        paths = {part: path for part, (path, _) in parts.items()}
        return Template(
            name=name,
            sources=reachable(parts.values(), self._find_in(folders)),
            subject=paths.get("subject"),
            text=paths.get("text"),
            html=paths.get("html"),
            folders=folders,
            inline_css=self._inline_css,
        )

    def _find_in(self, folders: Sequence[str]) -> Find:
        def find(name: str) -> tuple[str, str] | None:
            for folder in folders:
                if (source := self._folder.source(folder + name)) is not None:
                    return folder + name, source
            return None

        return find


def _joined(languages: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(folder for language in languages for folder in language)
