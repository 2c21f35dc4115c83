"""The ``mailer`` command."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None, name: str = "mailer") -> None:
    """Run the command; a user's mistake is one line, and never a traceback.

    Args:
        arguments: those of the process, if none are given.
        name: what the help calls it.
    """
    from mailer.cli.commands import app  # noqa: PLC0415 - typer and rich take a while to load
    from mailer.errors import MailerError  # noqa: PLC0415 - likewise

    sys.path.append(str(Path.cwd()))  # where MAILER_HOOKS may be, as for Celery and Flask
    try:
        app(arguments, prog_name=name)
    except MailerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `mailer list | head`
        sys.stderr.close()
        sys.exit(0)
