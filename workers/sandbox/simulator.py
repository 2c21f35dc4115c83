"""Recipients who are simulated, and the relay that they have.

They are at a domain that can't exist (RFC 6761, section 6.2), so that nobody else is meant.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType

import attrs

from workers.smtp.replies import Reply
from workers.smtp.seat import Build
from workers.smtp.transaction import Check, Look, Phase, Transcript

DOMAIN = "simulator.test"
_OFFERED = MappingProxyType({"8bitmime": "", "smtputf8": ""})
_OK = Reply(250, "2.1.0", "OK (simulated)")
_GO_AHEAD = Reply(354, None, "Go ahead (simulated)")
_ACCEPTED = Reply(250, "2.0.0", "Accepted (simulated)")
_NO_ANSWER = "no reply in time (simulated)"


@attrs.frozen
class Behavior:
    """What the relay does with a recipient.

    Attributes:
        meaning: a sentence for people.
        refusal: its reply to RCPT, where it takes the recipient not at once.
        once: the refusal is for the first attempt only.
        silent: it does not answer the message.
    """

    meaning: str
    refusal: Reply | None = None
    once: bool = False
    silent: bool = False


_LATER = Reply(451, "4.3.0", "Not now (simulated)")
BEHAVIORS = MappingProxyType(
    {
        "success": Behavior("It is accepted."),
        "bounce": Behavior(
            "It is refused: there is no such user.",
            Reply(550, "5.1.1", "No such user (simulated)"),
        ),
        "defer": Behavior("It is deferred at every attempt, until the retries end.", _LATER),
        "defer-once": Behavior(
            "It is deferred at the first attempt, and then accepted.", _LATER, once=True
        ),
        "greylist": Behavior(
            "The same, by a server that lets strangers come twice: the wait is longer.",
            Reply(450, "4.7.1", "Greylisted (simulated)"),
            once=True,
        ),
        "timeout": Behavior(
            "The reply after the final dot never comes: perhaps it was delivered.", silent=True
        ),
    }
)
_UNKNOWN = Behavior(
    "It is refused.",
    Reply(550, "5.1.1", f"There is no such user at {DOMAIN}, but {', '.join(BEHAVIORS)}"),
)


def is_simulated(recipient: str) -> bool:
    """Whether a recipient is one of ours."""
    return recipient.lower().endswith(f"@{DOMAIN}")


def breaks_off(recipient: str) -> bool:
    """Whether a simulated recipient's session breaks off, for all who share it."""
    return _behavior(recipient).silent


def simulated(recipients: Sequence[str], tries: int) -> Transcript:
    """Say what the relay says in one transaction: pure.

    Args:
        tries: attempts used up before this one.
    """
    behaviors = [_behavior(recipient) for recipient in recipients]
    refusals = [b.refusal if b.refusal and not (b.once and tries) else None for b in behaviors]
    replies = [refusal or _OK for refusal in refusals]
    if all(refusals):
        return Transcript(Phase.RCPT, _OK, replies)
    if any(behavior.silent for behavior in behaviors):
        return Transcript(Phase.DOT, _OK, replies, _GO_AHEAD, failure=_NO_ANSWER)
    return Transcript(Phase.DOT, _OK, replies, _GO_AHEAD, [_ACCEPTED])


def _behavior(recipient: str) -> Behavior:
    """Find it by the part before the ``@``, up to a ``+``: ``bounce+42@`` is ``bounce@``."""
    name = recipient.rpartition("@")[0].partition("+")[0].lower()
    return BEHAVIORS.get(name, _UNKNOWN)


@attrs.frozen
class Simulator:
    """The relay, as a `Pool` with room for all; the message is built, and goes nowhere.

    Attributes:
        tries: attempts used up before, of the job whose message it gets.
    """

    tries: int

    def seat(self, urgency: int) -> AbstractAsyncContextManager["Simulator"]:
        """Give what stands for a session."""
        return nullcontext(self)

    async def transact(
        self, build: Build, check: Look, look: Look, before_final: Check | None = None
    ) -> Transcript:
        """Run one transaction; see `Seat.transact`. As nothing leaves, nothing is noted before."""
        envelope, _ = await build(_OFFERED)
        check()
        return simulated(envelope.recipients, self.tries)
