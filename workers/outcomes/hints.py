"""When a server says itself that it wants to be tried again: pure, from its words to seconds.

There is no standard for it. These are the words of Postfix's and Exim's greylisting, postgrey,
SQLgrey, Rspamd, Microsoft and others: "try again in 300 seconds", "retry after 5 min", "please wait
00:04:57", "Retry-After: 60".
"""

import re

MOST = 24 * 3600.0  # seconds; a longer wait is no hint any more
_MOST_CHARACTERS = 2000  # of a reply that are looked at
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_ASKED = r"(?:try(?:ing)?(?: \w{1,20}){0,3} again|retry(?:ing)?|wait|come back|resend)"
_WAIT = re.compile(
    rf"{_ASKED}(?:-after)?:?(?: (?:later|again|only|please))?(?: (?:in|after|for|at least))*:? +"
    r"(?:(?P<clock>\d{1,2}:\d{2}:\d{2})|(?P<number>\d{1,6})"
    r"(?: ?(?P<unit>s|m|h)(?:ec(?:ond)?s?|in(?:ute)?s?|(?:ou)?rs?)?\b|(?! ?\w|[:/.-]\w)))",
    re.IGNORECASE,
)


def wait_in(reply: str) -> float | None:
    """Find how many seconds a temporary refusal asks to wait, from 1 to `MOST`."""
    match = _WAIT.search(reply[:_MOST_CHARACTERS])
    if not match:
        return None
    if match["clock"]:
        hours, minutes, seconds = map(int, match["clock"].split(":"))
        wait = hours * 3600.0 + minutes * 60 + seconds
    else:
        wait = int(match["number"]) * _UNITS[(match["unit"] or "s").lower()]
    return wait if 1 <= wait <= MOST else None
