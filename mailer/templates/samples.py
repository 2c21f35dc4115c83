"""Sample data for templates: a file of JSON or TOML."""

import json
import tomllib
from pathlib import Path
from typing import Any

from mailer.errors import TemplateError

SAMPLES = ("sample.json", "sample.toml")


def read_sample(path: Path, name: str | None = None) -> dict[str, Any]:
    """Read names and values.

    Args:
        path: ends in ``.json`` or ``.toml``.
        name: what an error calls it, where not the path.

    Raises:
        TemplateError: it can't be read; with the line where known.
    """
    name = name or str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except json.JSONDecodeError as error:
        raise TemplateError(f"{name}:{error.lineno}", f"is not JSON: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(name, f"is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise TemplateError(name, "is not UTF-8") from None
    except OSError as error:
        raise TemplateError(name, f"can't be read: {error.strerror}") from None
    if not isinstance(data, dict):
        raise TemplateError(name, "is not an object of names and values")
    return data
