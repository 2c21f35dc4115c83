"""What a reply means: a table of rules, of which the first that fits counts.

Sources: RFC 5321 (4.2), RFC 3463, RFC 4954 (6), and what the servers named in the rules say.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

import attrs

from workers.smtp.replies import Reply
from workers.smtp.transaction import Phase

_MOST_CHARACTERS = 1000  # of a reply that a phrase is looked for in


class Action(StrEnum):
    """What a rule leads to."""

    ACCEPT = "accept"
    RETRY = "retry"
    THROTTLE = "throttle"  # retry, and send less of it from now on
    TOO_MANY = "too many"  # retry; at once, if others of the same message were accepted
    REFUSE = "refuse"
    RELAY_FAULT = "relay fault"  # pause the relay; the email uses no attempt up
    SUPPRESS = "suppress"


@attrs.frozen
class Rule:
    """A kind of reply, and what it leads to. All criteria that are given must fit.

    Attributes:
        name: as it is shown with an attempt.
        meaning: a sentence for people.
        phases: what the reply answers; empty for anything.
        codes: how the code may begin: ``4``, ``45`` or ``452``; empty for any.
        enhanced: codes of RFC 3463, with ``x`` for any digits of a part: ``x.7.1``.
        phrase: looked for in the text, in any case of letters.
        wait: seconds that the next attempt should wait at least, where the retry policy has any
            wait as long; the server's own words come first.
        bad_address: there is no such recipient, and never will be.
    """

    name: str
    action: Action
    meaning: str
    phases: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    phrase: str | None = None
    wait: float | None = None
    bad_address: bool = False
    _enhanced: re.Pattern[str] | None = attrs.field(init=False, repr=False, eq=False)
    _phrase: re.Pattern[str] | None = attrs.field(init=False, repr=False, eq=False)

    @_enhanced.default
    def _compile_enhanced(self) -> re.Pattern[str] | None:
        either = "|".join(re.escape(code).replace("x", r"\d{1,3}") for code in self.enhanced)
        return re.compile(either) if either else None

    @_phrase.default
    def _compile_phrase(self) -> re.Pattern[str] | None:
        return re.compile(self.phrase, re.IGNORECASE) if self.phrase else None

    def fits(self, phase: Phase, reply: Reply) -> bool:
        """Whether a reply is of this kind."""
        if self.phases and phase not in self.phases:
            return False
        if self.codes and not str(reply.code).startswith(self.codes):
            return False
        if self._enhanced and not self._enhanced.fullmatch(reply.enhanced_code or ""):
            return False
        return not self._phrase or bool(self._phrase.search(reply.text[:_MOST_CHARACTERS]))


MESSAGE = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT)
_RATE = (
    r"too m(?:any|uch)|rate.?limit|rate (?:is |was )?exceed|throttl"
    r"|exceed\w* .{0,40}(?:rate|limit|quota)"
    r"|slow down|sending rate|too fast|\[TSS?0\d\]|temporar\w+ deferred due to|unusual rate"
)
_FULL = (
    r"(?:mail ?box|inbox|storage|account|user).{0,30}\bfull\b|over.?quota"
    r"|(?<!message )quota (?:is )?exceeded"
)
_BLOCKED = (
    r"block(?:ed|ing|list)|black.?list|spamhaus|spamcop|barracuda|dnsbl|\brbl\b|reputation"
    r"|banned sending ip|\(S31\d\d\)|listed (?:at|in|by|on)\b|not in whitelist"
)
_SPAM = r"spam|unsolicited|bulk mail|virus|malware|phish|message content|content (?:was )?rejected"
_UNKNOWN = (
    r"(?:user|recipient|mailbox|address|account|alias)(?: \S+)? (?:is )?(?:unknown|not found"
    r"|does(?:n't| not) exist|unavailable|invalid|disabled|inactive)|unknown (?:user|recipient"
    r"|local|address)|no such (?:user|mailbox|recipient|address|person)|no mailbox here"
    r"|(?:invalid|undeliverable) (?:recipient|mailbox|address)|not a (?:known|valid) (?:user|mail)"
)
_SENDER = (
    r"sender (?:address )?rejected|not (?:owned|allowed) .{0,30}(?:sender|user|send)|send.?as"
    r"|address (?:is )?not verified|not authori[sz]ed to (?:use|send)"
)

RULES = (
    Rule("accepted", Action.ACCEPT, "It has the message.", (Phase.DOT,), ("2",)),
    Rule(
        "rate limited",
        Action.THROTTLE,
        "It takes no more for now: too many messages, connections or recipients in a time.",
        codes=("4",),
        enhanced=("4.7.28", "4.7.5xx", "4.7.65x"),  # Gmail; Outlook
    ),
    Rule(
        "rate limited",
        Action.THROTTLE,
        "It takes no more for now: too many messages, connections or recipients in a time.",
        codes=("432",),  # Exchange: too many of one sender at a time
    ),
    Rule(
        "mailbox full",
        Action.RETRY,
        "The recipient's mailbox is full, and may be emptied.",
        (Phase.RCPT, Phase.DOT),
        ("4",),
        ("4.2.2",),
        wait=3600.0,
    ),
    Rule(
        "mailbox full",
        Action.RETRY,
        "The recipient's mailbox is full, and may be emptied.",
        (Phase.RCPT, Phase.DOT),
        ("4",),
        phrase=_FULL,
        wait=3600.0,
    ),
    Rule(
        "mailbox full for good",
        Action.REFUSE,
        "The recipient's mailbox is full, and the server says that this is final.",
        (Phase.RCPT, Phase.DOT),
        ("5",),
        ("5.2.2",),
    ),
    Rule(
        "too many recipients",
        Action.TOO_MANY,
        "It takes no more recipients in one message (RFC 5321, 4.5.3.1.10): the others go alone.",
        (Phase.RCPT,),
        ("452", "552"),
    ),
    Rule(
        "too many recipients",
        Action.TOO_MANY,
        "It takes no more recipients in one message (RFC 5321, 4.5.3.1.10): the others go alone.",
        (Phase.RCPT,),
        ("4", "5"),
        ("x.5.3",),
    ),
    Rule(
        "rate limited",
        Action.THROTTLE,
        "It takes no more for now: too many messages, connections or recipients in a time.",
        codes=("4",),
        phrase=_RATE,
    ),
    Rule(
        "closing",
        Action.RELAY_FAULT,
        "The server is shutting down, overloaded or tired of us, and ends the session.",
        codes=("421",),
    ),
    Rule(
        "credentials",
        Action.RELAY_FAULT,
        "The relay wants us to sign in, or not with these credentials (RFC 4954, 6).",
        codes=("530", "534", "535", "538"),
    ),
    Rule(
        "credentials can't be checked",
        Action.RELAY_FAULT,
        "The relay can't check credentials now (RFC 4954, 6).",
        codes=("454",),
        enhanced=("4.7.0",),
        phrase="authentication",
    ),
    Rule(
        "greylisted",
        Action.RETRY,
        "The server lets strangers come twice.",
        (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT),
        ("4",),
        phrase=r"gr[ea]y.?list|postgrey|sqlgrey|come back (?:later|in)|retry later.*\bnew\b",
        wait=300.0,
    ),
    Rule(
        "blocked for now",
        Action.RETRY,
        "The server mistrusts our address or domain for now.",
        codes=("4",),
        phrase=_BLOCKED,
        wait=1800.0,
    ),
    Rule(
        "no room",
        Action.RETRY,
        "The server's disk is full.",
        (Phase.MAIL, Phase.DATA, Phase.DOT),
        ("4",),
        ("4.3.1",),
    ),
    Rule(
        "unknown user",
        Action.REFUSE,
        "There is no such mailbox.",
        (Phase.RCPT,),
        ("5",),
        ("5.1.1",),
        bad_address=True,
    ),
    Rule(
        "bad address",
        Action.REFUSE,
        "Nobody can be reached at this address.",
        (Phase.RCPT, Phase.DOT),
        ("5",),
        ("5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"),
    ),
    Rule(
        "null MX",
        Action.REFUSE,
        "The recipient's domain takes no mail (RFC 7504, 7505).",
        codes=("521", "556"),
    ),
    Rule(
        "blocked",
        Action.REFUSE,
        "The server doesn't take mail from our address or domain.",
        codes=("5",),
        phrase=_BLOCKED,
    ),
    Rule(
        "spam",
        Action.REFUSE,
        "The server takes the message for spam, or for worse.",
        codes=("5",),
        phrase=_SPAM,
    ),
    Rule(
        "sender not allowed",
        Action.REFUSE,
        "The relay doesn't let us send from this address.",
        codes=("5",),
        phrase=_SENDER,
    ),
    Rule(
        "relaying denied",
        Action.REFUSE,
        "The server doesn't take mail for this recipient from us.",
        (Phase.MAIL, Phase.RCPT),
        ("5",),
        phrase=r"relay",
    ),
    Rule(
        "too large",
        Action.REFUSE,
        "The message is larger than the server takes.",
        MESSAGE,
        ("5",),
        phrase=r"too (?:large|big)|exceeds .{0,30}(?:size|maximum)|(?:message|size).{0,20}limit",
    ),
    Rule(
        "bad address",
        Action.REFUSE,
        "Nobody can be reached at this address.",
        (Phase.RCPT,),
        ("5",),
        phrase=_UNKNOWN,
    ),
    Rule(
        "policy",
        Action.REFUSE,
        "The server's rules forbid it.",
        codes=("5",),
        enhanced=("5.7.x",),
    ),
    Rule("temporary", Action.RETRY, "Not now, for whatever reason.", codes=("4",)),
    Rule("permanent", Action.REFUSE, "No, for whatever reason.", codes=("5",)),
    Rule("nonsense", Action.RELAY_FAULT, "A reply that has no meaning here."),
)

ACCEPTED = RULES[0]

# What happens without a reply.
NO_SESSION = Rule("no session", Action.RELAY_FAULT, "No connection, no TLS, or no AUTH.")
BROKEN_OFF = Rule(
    "broken off", Action.RELAY_FAULT, "The session ended before the message was complete."
)
UNKNOWN = Rule(
    "unknown", Action.RETRY, "The session ended after the final dot: perhaps it was delivered."
)
NOT_READY = Rule(
    "not ready",
    Action.RETRY,
    "The message can't be built now: an attachment is out of reach, or a hook failed.",
)
KEPT_BACK = Rule("sandbox", Action.SUPPRESS, "Sandbox mode sends nothing to this recipient.")


def find(rules: Sequence[Rule], phase: Phase, reply: Reply) -> Rule:
    """Find the first rule that fits; the last of `RULES` fits any reply."""
    return next(rule for rule in rules if rule.fits(phase, reply))
