"""What an SMTP server can do wrong, as values: when, to whom, and what happens then."""

from collections.abc import Sequence
from enum import StrEnum

import attrs


class Action(StrEnum):
    """What a fault does."""

    REPLY = "reply"  # the given reply instead of the usual one
    CLOSE = "close"  # the connection, without a word
    HANG = "hang"  # never answer
    REPLY_AND_CLOSE = "reply and close"  # as with 421
    LOSE_REPLY = "lose reply"  # do as asked, the message is accepted; then close without a reply


@attrs.define
class Fault:
    """One thing that goes wrong.

    Attributes:
        at: connect, ehlo, auth, mail, rcpt, data or dot.
        match: a part of the recipient's address (rcpt, dot) or the sender's (mail); empty for any.
        times: how often it happens; None for always.
        delay: seconds before the reply.
    """

    at: str
    action: Action = Action.REPLY
    reply: str = ""
    match: str = ""
    times: int | None = None
    delay: float = 0.0
    happened: int = 0

    def applies(self, at: str, subjects: Sequence[str]) -> bool:
        """Whether it happens now; counts it if so."""
        if self.at != at or (self.times is not None and self.happened >= self.times):
            return False
        if self.match and not any(self.match in subject for subject in subjects):
            return False
        self.happened += 1
        return True


def greylist(recipient: str, times: int | None = 1) -> Fault:
    """Defer a recipient, the first time or the first few."""
    return Fault("rcpt", reply="450 4.7.1 Greylisted, try again", match=recipient, times=times)


def refuse(recipient: str) -> Fault:
    """Refuse a recipient for good."""
    return Fault("rcpt", reply="550 5.1.1 No such user here", match=recipient)


def hang_up_once(match: str = "", at: str = "rcpt") -> Fault:
    """Close the connection, the first time."""
    return Fault(at, Action.CLOSE, match=match, times=1)


def say(reply: str, at: str, match: str = "", times: int | None = None) -> Fault:
    """Give a reply of one's choice."""
    return Fault(at, reply=reply, match=match, times=times)


def go_away(at: str, times: int | None = None) -> Fault:
    """Say 421 and close."""
    return Fault(at, Action.REPLY_AND_CLOSE, "421 4.3.2 Shutting down", times=times)


def hang(at: str, match: str = "", times: int | None = None) -> Fault:
    """Never answer."""
    return Fault(at, Action.HANG, match=match, times=times)


def lose_reply(match: str = "", times: int | None = 1) -> Fault:
    """Accept a message and close before saying so."""
    return Fault("dot", Action.LOSE_REPLY, match=match, times=times)


def slow(seconds: float, at: str = "dot", match: str = "") -> Fault:
    """Answer as usual, but late."""
    return Fault(at, delay=seconds, match=match)
