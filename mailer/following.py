"""Reading events, one page after the other; `Mailer.events` describes it."""

import re
from collections.abc import Iterable
from contextlib import suppress

from mailer.errors import EventsMissed, InvalidArgument, InvalidSetting, StoreUnavailable
from mailer.job import JobState
from mailer.settings import Settings
from mailer.steps import Call, Pause, Together
from mailer.store.events import Event, Events, Page, Recorded
from mailer.store.keys import Keys

_START, _NOW = "0-0", "now"
_ID = re.compile(r"\d{1,20}-\d{1,20}")
_FIRST_LOOK, _LAST_LOOK = 0.05, 0.5  # seconds between looks while nothing comes


class Reader:
    """Reads for one call of `Mailer.events`.

    Raises:
        InvalidArgument: naming what is malformed.
    """

    def __init__(
        self,
        settings: Settings,
        after: str | None,
        states: str | Iterable[str] | None,
        group: str | None,
        *,
        follow: bool,
    ) -> None:
        if after is not None and after != _NOW and not _ID.fullmatch(str(after)):
            raise InvalidArgument("after", "is an event's id, or 'now'")
        if group is not None and (not isinstance(group, str) or not group):
            raise InvalidArgument("group", "is a name")
        if group and after:
            raise InvalidArgument("after", "is not for a group, which knows how far it is")
        self._events = Events(Keys(settings.key_prefix))
        self._lease = settings.lease_seconds
        self._last = after or _START
        self._group = group
        self._states = _states(states)
        self._follow = follow
        self._done: list[str] = []  # what is to be acknowledged, by a group

    def more(self) -> Call[list[Event]]:
        """Read the next events; none where this is the end.

        Raises:
            EventsMissed: some were dropped before they were read.
            InvalidSetting: of a state that is asked for no events are recorded.
        """
        pause = _FIRST_LOOK
        while True:
            page = yield from self._next_of_group() if self._group else self._next_after_last()
            if page.dropped:
                raise EventsMissed
            wanted = [e for e in page.events if self._states is None or e.state in self._states]
            self._done += [event.id for event in page.events if event not in wanted]
            if page.recorded.states or not wanted:  # where it ended, what is left may be read
                self._require(page.recorded.states)
            if wanted:
                return wanted
            if page.events:
                continue
            if not self._follow:
                return []
            yield Pause(pause)
            pause = min(pause * 1.5, _LAST_LOOK)

    def done(self, event: Event) -> None:
        """Note that the one who reads has gone on after ``event``."""
        self._done.append(event.id)

    def close(self) -> Call[None]:
        """Acknowledge what a group is through with; the rest is given to other readers."""
        if self._group and self._done:
            with suppress(StoreUnavailable):  # then it is given again
                yield self._events.acknowledge(self._group, self._done)

    def _next_of_group(self) -> Call[Page]:
        page: Page = yield self._events.follow(self._group or "", self._lease, self._done)
        self._done.clear()
        return page

    def _next_after_last(self) -> Call[Page]:
        self._done.clear()
        recorded: Recorded
        found: list[Event]
        read = self._events.newest() if self._last == _NOW else self._events.since(self._last)
        recorded, found = yield Together([self._events.recorded(), read])
        if self._last == _NOW:
            self._last = found[0].id if found else _START
            return Page(recorded, dropped=False, events=[])
        # events go the oldest first: as long as this one is there, so are all after it
        known = self._last == _START or (found and found.pop(0).id == self._last)
        if known and found:
            self._last = found[-1].id
        return Page(recorded, not known, found)

    def _require(self, recorded: frozenset[JobState]) -> None:
        missing = sorted((self._states or frozenset()) - recorded)
        if missing or not recorded:
            of = f" of {', '.join(missing)}" if recorded else ""
            raise InvalidSetting(
                f"MAILER_EVENTS: no events{of} are recorded; "
                "start workers with the states that you want there, such as sent,failed"
            )


def _states(states: str | Iterable[str] | None) -> frozenset[JobState] | None:
    if states is None:
        return None
    given = {states} if isinstance(states, str) else set(states)
    if not given or given - set(JobState):
        raise InvalidArgument("states", f"are some of {', '.join(JobState)}")
    return frozenset(map(JobState, given))
