"""What an SMTP server can do wrong, as values: when, to whom, and what happens then."""

import time
from collections.abc import Sequence
from enum import StrEnum

import attrs

PHASES = (*("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "bdat", "dot", "rset"),)


class Action(StrEnum):
    """What a fault does."""

    REPLY = "reply"  # the given reply instead of the usual one
    CLOSE = "close"  # the connection, without a word
    HANG = "hang"  # never answer
    REPLY_AND_CLOSE = "reply and close"  # as with 421
    LOSE_REPLY = "lose reply"  # do as asked, the message is accepted; then close without a reply
    ADD = "add"  # do as asked, and say something more
    TRICKLE = "trickle"  # answer as usual, a byte at a time
    LOSE_REST = "lose rest"  # do and say the usual, and forget what came behind it
    FLOOD = "flood"  # say the same without end


@attrs.define
class Fault:
    """One thing that goes wrong.

    Attributes:
        at: connect, ehlo, starttls, auth, mail, rcpt, data, bdat (of a server that offers
            CHUNKING and does not know it), dot (the end of a message by BDAT as well) or rset.
        match: a part of the recipient's address (rcpt, dot) or the sender's (mail), or EHLO or HELO
            (ehlo); empty for any.
        times: how often it happens; None for always.
        delay: seconds before the reply, or between its bytes.
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


def trickle(seconds: float, at: str = "dot", times: int | None = None) -> Fault:
    """Answer as usual, a byte each so many seconds."""
    return Fault(at, Action.TRICKLE, delay=seconds, times=times)


def garbage(at: str, times: int | None = None) -> Fault:
    """Say what is no reply."""
    return Fault(at, reply="\x16\x03\x01 what?", times=times)


def endless_reply(at: str, times: int | None = None) -> Fault:
    """Give a reply that has always one more line."""
    return Fault(at, Action.FLOOD, "250-and more\r\n", times=times)


def endless_line(at: str, times: int | None = None) -> Fault:
    """Give a reply whose first line has no end."""
    return Fault(at, Action.FLOOD, "250 and so on, ", times=times)


def add(reply: str, at: str, times: int | None = None) -> Fault:
    """Answer as usual, and say something that nobody had asked for."""
    return Fault(at, Action.ADD, reply, times=times)


def lose_pipelined(at: str = "mail", times: int | None = None) -> Fault:
    """Offer PIPELINING, and lose what came behind a command."""
    return Fault(at, Action.LOSE_REST, times=times)


def no_chunking() -> Fault:
    """Offer CHUNKING without knowing it."""
    return say("502 5.5.1 What is BDAT?", "bdat")


@attrs.define
class Crowded(Fault):
    """Too many messages in a second; see `too_fast`."""

    per_second: int = 1
    _taken: list[float] = attrs.field(factory=list)

    def applies(self, at: str, subjects: Sequence[str]) -> bool:
        """Whether this one is too many; counts it if so."""
        now = time.monotonic()
        self._taken = [moment for moment in self._taken if moment > now - 1]
        if self.at == at and len(self._taken) < self.per_second:
            self._taken.append(now)
            return False
        return super().applies(at, subjects)


def too_fast(
    per_second: int, reply: str = "450 4.7.1 Too many messages, slow down", at: str = "mail"
) -> Fault:
    """Refuse for now what comes faster than so many messages a second."""
    return Crowded(at, reply=reply, per_second=per_second)
