"""How fast a queue is delivered: contender after contender, each in every round."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import field, frozen
from contenders import Contender, Trial
from messages import ATTACHED, LARGE, MAIN, SHARED, SMALL, Message
from results import Found, Row, Series
from session import Session
from stage import stage

DELIVERED, SINGLE, BULK = "delivered/s", "enqueued one by one/s", "enqueued in bulk/s"
# Two that stand for all: a task of one's own, and what keeps its queue in a database.
USUAL = ("ours", "celery_smtplib", "post_office")
_LEAST = 20  # emails, however small a share is


@frozen
class Delivery:
    """A workload of this kind.

    Attributes:
        share: how many emails, as a share of those of the main workload.
        names: who takes part; all, where there are none.
        manners: of the sink; see `sink.Manners`.
        settings: more of them, by the contender's name; for a relay that is not on this machine.
    """

    name: str
    message: Message
    share: float = 1.0
    names: Sequence[str] = USUAL
    manners: Mapping[str, float] = field(factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(factory=dict)

    def __call__(self, session: Session) -> Found:
        """Measure."""
        contenders = session.only(*self.names) if self.names else session.contenders
        trials: dict[str, list[Trial]] = defaultdict(list)
        for contender in session.interleaved(contenders, self.name):
            trial = session.trial(
                lambda c=contender: self._trial(c, session.emails), contender.label
            )
            trials[contender.name].append(trial)
        rows = [self._row(contender, trials[contender.name]) for contender in contenders]
        return Found(self.name, tuple(rows))

    def _trial(self, contender: Contender, emails: int) -> Trial:
        count = max(_LEAST, int(emails * self.share * contender.share))
        manners = self.manners if contender.sink == "ours" else {}
        with stage(self.message, contender.sink, **manners) as here:
            return contender.play(here, count, **self.settings.get(contender.name, {}))

    def _row(self, contender: Contender, trials: Sequence[Trial]) -> Row:
        measured = {
            DELIVERED: [trial.delivered for trial in trials],
            SINGLE: [trial.single for trial in trials if trial.single is not None],
            BULK: [trial.bulk for trial in trials if trial.bulk is not None],
        }
        figures = {name: Series.of(values) for name, values in measured.items() if values}
        more = self.settings.get(contender.name, {})
        note = ", ".join([contender.note, *(f"{name} {value}" for name, value in more.items())])
        return Row(contender.name, contender.label, figures, contender.kind, note)


MAIN_DELIVERY = Delivery("main", MAIN, names=())
SMALL_DELIVERY = Delivery("small", SMALL, share=0.5)
LARGE_DELIVERY = Delivery("large", LARGE, share=0.15)
ATTACHED_DELIVERY = Delivery("attached", ATTACHED, share=0.02)
SHARED_DELIVERY = Delivery("shared", SHARED, share=0.03)
DISTANT_DELIVERY = Delivery(
    "distant",
    MAIN,
    share=0.5,
    manners={"rtt": 0.05},
    # who waits for the relay counts here, and each is given as many as it makes use of
    settings={
        "ours": {"connections": "100"},
        "celery_smtplib": {"processes": "32"},
        "post_office": {"threads": "50"},
    },
)
GREYLISTED_DELIVERY = Delivery(
    "greylisted",
    MAIN,
    share=0.5,
    names=("ours", "celery_smtplib"),
    manners={"greylisted": 0.5},
    settings={"ours": {"retry_delays": "2"}},
)
