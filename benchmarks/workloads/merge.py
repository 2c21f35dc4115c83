"""A mail merge: a letter to each customer by one call, while workers wait for it."""

from collections import defaultdict

from contenders import Contender
from messages import MAIN
from results import Found, Row, Series
from session import Session
from stage import stage

NAME = "merge"
RATE = "from call to last 250, emails/s"


def measure(session: Session) -> Found:
    """Measure from the beginning of the call until the last letter was delivered."""
    names = ("ours", "celery_email_bulk", "celery_smtplib")
    contenders = [contender for contender in session.only(*names) if contender.live]
    rates: dict[str, list[float]] = defaultdict(list)
    for contender in session.interleaved(contenders, NAME):
        count = max(100, int(session.emails * contender.share / 2))

        def play(contender: Contender = contender, count: int = count) -> float:
            with stage(MAIN) as here:
                return contender.live(here, count)  # type: ignore[misc]

        rates[contender.name].append(session.trial(play, contender.label))
    rows = (
        Row(c.name, c.label, {RATE: Series.of(rates[c.name])}, c.kind, c.note) for c in contenders
    )
    return Found(NAME, tuple(rows))
