"""A folder of templates, as files; nothing outside of it is ever read."""

import os
from pathlib import Path

import attrs

from mailer.errors import TemplateError
from mailer.templates.locales import is_locale, normalised
from mailer.templates.template import FILES


@attrs.frozen
class Folder:
    """Files by their paths in it, which have slashes, such as ``de/welcome/body.html``.

    Attributes:
        root: absolute, without symbolic links.
    """

    root: Path

    def source(self, path: str) -> str | None:
        """Read a file, if there is one.

        Raises:
            TemplateError: it lies elsewhere, or is not UTF-8.
        """
        file = self.file(path)
        if file is None:
            return None
        try:
            content = file.read_bytes()
        except OSError as error:
            raise TemplateError(path, f"can't be read: {error.strerror}") from None
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise TemplateError(f"{path}:{line}", "is not UTF-8") from None

    def file(self, path: str) -> Path | None:
        """Find a file, if there is one.

        Raises:
            TemplateError: a symbolic link leads out of the folder.
        """
        file = Path(os.path.realpath(self.root / path))
        if not file.is_relative_to(self.root):
            raise TemplateError(path, f"lies outside of {self.root}")
        try:
            return file if file.is_file() else None
        except OSError as error:  # such as a name that is too long
            raise TemplateError(path, f"can't be read: {error.strerror}") from None

    def locales(self) -> dict[str, str]:
        """Name the folders of locales by what `normalised` makes of them."""
        names = [entry.name for entry in self.root.iterdir() if entry.is_dir()]
        return {normalised(name): name for name in names if is_locale(name)}

    def templates(self) -> dict[str, set[str]]:
        """Name all templates, with the folders of locales that have them; ``""`` for none."""
        files = FILES.values()
        folders = {
            Path(folder).relative_to(self.root).parts
            for folder, _, names in os.walk(self.root)
            if any(name in files for name in names)
        } - {()}
        found: dict[str, set[str]] = {}
        for parts in folders:
            # a folder of two or three letters may also be a template itself, such as otp
            in_locale = len(parts) > 1 and is_locale(parts[0]) and parts[:1] not in folders
            locale, name = (parts[0], parts[1:]) if in_locale else ("", parts)
            found.setdefault("/".join(name), set()).add(locale)
        return found
