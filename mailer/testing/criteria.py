"""Which of the sent emails a test means, and in what the others differ."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import ndiff
from typing import TypedDict

import attrs

from mailer.testing.sent import SentEmail

_MOST_SHOWN = 20  # emails that don't fit
_MOST_LINES = 30  # of one difference
_MOST_CHARACTERS = 500  # likewise


class Criteria(TypedDict, total=False):
    """What an email must be like; all that is given must fit.

    A string must be equal, a compiled pattern must be found (`re.search`), and anything else is
    compared by ``==``, such as `containing`. Where an email has several (``to``, ``cc``, ``bcc``,
    ``recipients``, ``tags``, the file names of ``attachments``), one of them must fit; a list
    stands for all of them, in any order. Of ``headers``, those that are named must fit. A line end
    at the very end of ``text`` and ``html`` does not count: some messages need one, others not.
    """

    to: object
    cc: object
    bcc: object
    recipients: object
    from_email: object
    envelope_sender: object
    subject: object
    text: object
    html: object
    headers: Mapping[str, object]
    tags: object
    attachments: object


@attrs.frozen(eq=False, repr=False)
class containing:  # noqa: N801 - reads as what it says: text == containing("Thanks")
    """Is equal to any text that contains ``part``."""

    part: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.part in other

    def __hash__(self) -> int:
        return hash(self.part)

    def __repr__(self) -> str:
        return f"containing({self.part!r})"


def misfits(email: SentEmail, criteria: Criteria) -> dict[str, tuple[object, object]]:
    """Give what does not fit, by its name: what is expected, and what there is."""
    unknown = criteria.keys() - Criteria.__annotations__.keys()
    if unknown:
        known = ", ".join(Criteria.__annotations__)
        raise TypeError(f"an email has no {', '.join(sorted(unknown))} to look for, but {known}")
    pairs = {
        name: (_plain(expected), _plain(_actual(email, name)))
        for name, expected in criteria.items()
        if name != "headers"
    }
    for name, expected in criteria.get("headers", {}).items():
        there = email.message[name]
        pairs[name] = expected, None if there is None else str(there)
    return {name: pair for name, pair in pairs.items() if not _fits(*pair)}


def nobody_fits(emails: Sequence[SentEmail], criteria: Criteria) -> str:
    """Say in what each email differs from what was looked for."""
    there = f"of {len(emails)} that were sent" if emails else "and nothing was sent at all"
    lines = [f"no email has {_said(criteria)}; {there}"]
    for number, email in enumerate(emails[:_MOST_SHOWN], 1):
        lines.append(f"{number}. {_title(email)}")
        for name, (expected, actual) in misfits(email, criteria).items():
            lines += [f"   {line}" for line in _difference(name, expected, actual)]
    if len(emails) > _MOST_SHOWN:
        lines.append(f"and {len(emails) - _MOST_SHOWN} more")
    return "\n".join(lines)


def several_fit(emails: Sequence[SentEmail], criteria: Criteria, expected: str) -> str:
    """Say which emails fit, where there should be fewer."""
    number = f"{len(emails)} emails have" if len(emails) > 1 else "an email has"
    lines = [f"{number} {_said(criteria)}, and {expected} should:"]
    lines += [f"{n}. {_title(email)}" for n, email in enumerate(emails[:_MOST_SHOWN], 1)]
    return "\n".join(lines)


def _actual(email: SentEmail, name: str) -> object:
    if name == "attachments":
        return tuple(attachment.filename for attachment in email.attachments)
    there: object = getattr(email, name)
    return there


def _plain(value: object) -> object:
    return value.removesuffix("\n") if isinstance(value, str) else value


def _fits(expected: object, actual: object) -> bool:
    if isinstance(actual, tuple):
        if isinstance(expected, list | tuple):
            return len(expected) == len(actual) and all(_fits(one, actual) for one in expected)
        return any(_fits(expected, one) for one in actual)
    if isinstance(expected, re.Pattern):
        return isinstance(actual, str) and bool(expected.search(actual))
    return expected == actual


def _said(criteria: Criteria) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in criteria.items()) or "anything"


def _title(email: SentEmail) -> str:
    return f"{email.subject!r} to {', '.join(email.recipients)}"


def _difference(name: str, expected: object, actual: object) -> Iterator[str]:
    """Put both below each other, or the lines of long texts beside each other."""
    if isinstance(expected, str) and isinstance(actual, str) and "\n" in expected + actual:
        yield f"{name}: (- expected, + sent)"
        lines = [*ndiff(expected.splitlines(), actual.splitlines())]
        yield from (f"  {line.rstrip()}" for line in lines[:_MOST_LINES])
        if len(lines) > _MOST_LINES:
            yield f"  and {len(lines) - _MOST_LINES} lines more"
        return
    shown = ", ".join(map(repr, actual)) if isinstance(actual, tuple) else repr(actual)
    yield f"{name}: expected {expected!r}"
    yield f"{' ' * len(name)}      sent {shown[:_MOST_CHARACTERS] or 'none'}"
