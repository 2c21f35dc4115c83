"""``python -m mailer.cli`` is the ``mailer`` command."""

from mailer.cli import main

main()
