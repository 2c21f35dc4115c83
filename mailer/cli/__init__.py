"""The ``mailer`` command."""

import sys


def main() -> None:
    """Run the command; a user's mistake is one line, and never a traceback."""
    from mailer.cli.commands import app  # noqa: PLC0415 - typer and rich take a while to load
    from mailer.errors import MailerError  # noqa: PLC0415 - likewise

    try:
        app(prog_name="mailer")
    except MailerError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `mailer list | head`
        sys.stderr.close()
        sys.exit(0)
