"""The stream of events: one for each change of a job's state, where settings ask for them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailer.job import JobState
from mailer.store.keys import Keys
from mailer.store.operation import Argument, Operation, pairs, run_command, run_script
from mailer.store.records import at

_PAGE = 100  # events in one reply
_GROUP_PAGE = 20  # so few that a reader is soon through with them


class Event(msgspec.Struct, frozen=True):
    """A job has come into a state.

    Attributes:
        id: greater than those of earlier events, though not as a text.
        at: when it happened, by the Redis server's clock, in UTC.
        tries: how many attempts of the retry policy the job had used up.
    """

    id: str
    job_id: str
    state: JobState
    at: datetime
    tries: int


class Recorded(msgspec.Struct, frozen=True):
    """Of which states events are recorded; none where there is no stream.

    Attributes:
        kept: how many events are kept at least, if there were as many.
    """

    states: frozenset[JobState]
    kept: int = 0


class Page(msgspec.Struct, frozen=True):
    """What a group's reader is given.

    Attributes:
        dropped: events went before the group was through with them.
    """

    recorded: Recorded
    dropped: bool
    events: list[Event]


class Events:
    """Operations on the stream under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._stream = keys.events
        self._on = keys.events_on

    def record(
        self, states: Collection[JobState], kept: int, seconds: int
    ) -> list[Operation[object]]:
        """Have events of ``states`` recorded from now on, by all processes (SET, PERSIST).

        Args:
            kept: the most that are kept, and a few; older ones go.
            seconds: after which the stream goes, where there are no such states (DEL, EXPIRE).
        """
        if not states:
            return [
                run_command("DEL", self._on, parse=int),
                run_command("EXPIRE", self._stream, seconds, parse=int),
            ]
        return [
            run_command("SET", self._on, " ".join([str(kept), *states]), parse=bool),
            run_command("PERSIST", self._stream, parse=int),
        ]

    def recorded(self) -> Operation[Recorded]:
        """Tell of which states events are recorded (GET)."""
        return run_command("GET", self._on, parse=_recorded)

    def newest(self) -> Operation[list[Event]]:
        """Read the last event, if there is one (XREVRANGE)."""
        return run_command("XREVRANGE", self._stream, "+", "-", "COUNT", 1, parse=_events)

    def since(self, event_id: str) -> Operation[list[Event]]:
        """Read a page of events, from that one on, which is the first if it is kept (XRANGE)."""
        return run_command("XRANGE", self._stream, event_id, "+", "COUNT", _PAGE + 1, parse=_events)

    def follow(self, group: str, lease: float, done: Sequence[str]) -> Operation[Page]:
        """Acknowledge the events ``done``, and read the next ones of ``group``.

        Args:
            lease: seconds after which what was not acknowledged is given again.
        """

        def parse(reply: list[Any]) -> Page:
            return Page(_recorded(reply[0]), bool(reply[1]), _events(reply[2]))

        args: list[Argument] = [group, _GROUP_PAGE, round(lease * 1000), *done]
        return run_script("follow", [self._stream, self._on], args, parse)

    def acknowledge(self, group: str, done: Sequence[str]) -> Operation[int]:
        """Acknowledge the events ``done`` (XACK)."""
        return run_command("XACK", self._stream, group, *done, parse=int)


def _recorded(stored: bytes | None) -> Recorded:
    kept, *states = (stored or b"0").decode().split()
    return Recorded(frozenset(map(JobState, states)), int(kept))


def _events(reply: list[Any]) -> list[Event]:
    return [_event(name.decode(), pairs(fields)) for name, fields in reply]


def _event(event_id: str, fields: dict[bytes, bytes]) -> Event:
    return Event(
        id=event_id,
        job_id=fields[b"job"].decode(),
        state=JobState(fields[b"state"].decode()),
        at=at(int(event_id.partition("-")[0])),
        tries=int(fields[b"tries"]),
    )
