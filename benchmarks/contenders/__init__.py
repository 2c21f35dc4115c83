"""Who is measured side by side: this mailer, what users pick instead, and the limits."""

from peers import PEERS

from contenders.contender import Contender, Trial, Unavailable
from contenders.limits import BARE, OURS_ON_POSTFIX, SMTP_SOURCE, SMTP_SOURCE_ON_POSTFIX
from contenders.ours import OURS
from contenders.theirs import contender_of

CONTENDERS: tuple[Contender, ...] = (
    OURS,
    *map(contender_of, PEERS),
    SMTP_SOURCE,
    BARE,
    OURS_ON_POSTFIX,
    SMTP_SOURCE_ON_POSTFIX,
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}

__all__ = ["BY_NAME", "CONTENDERS", "OURS", "Contender", "Trial", "Unavailable"]
