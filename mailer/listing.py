"""Jobs as they are listed, the newest first: by state, recipient and tag, page by page."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from mailer.address import Address
from mailer.errors import InvalidArgument, InvalidEmail
from mailer.job import Job, JobState
from mailer.steps import Call, Together
from mailer.store.jobs import Jobs

# the most jobs that one call looks at for a recipient or tag: nothing leads from these to jobs
MOST_LOOKED_AT = 10_000
_MOST_LISTED = 1_000_000
_STEP = 500  # jobs that are looked at in one round trip
_CHUNK = 100  # of these in one Lua call: it holds Redis for a millisecond or two
_AT_ONCE = 100  # jobs that one call of a producer or worker can bring into a state, at one time

Place: TypeAlias = tuple[float, str]  # in the list: when a job came into its state (ms), its id


class Page(msgspec.Struct, frozen=True):
    """Some of the jobs that are recorded, those first that came into their state last.

    Attributes:
        jobs: those that were asked for.
        looked_at: among how many they were found; those were the newest ones.
        older: where older jobs begin, for `Mailer.page` to go on with; None where there are none.
    """

    jobs: list[Job]
    looked_at: int
    older: str | None = None


class Listing:
    """Calls that list jobs, as generators like those of `Calls`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def page(
        self,
        state: str | None,
        recipient: str | None,
        tag: str | None,
        limit: int,
        older_than: str | None,
    ) -> Call[Page]:
        """See `Mailer.page`."""
        if state is not None and state not in set(JobState):
            raise InvalidArgument("state", f"is one of {', '.join(JobState)}")
        if type(limit) is not int or not 1 <= limit <= _MOST_LISTED:
            raise InvalidArgument("limit", f"is a whole number from 1 to {_MOST_LISTED}")
        states = [JobState(state)] if state else list(JobState)
        wanted = _Wanted(states, recipient, tag)
        place = _place(older_than)
        most, step = (MOST_LOOKED_AT, _STEP) if recipient or tag else (limit, limit)
        found: list[Job] = []
        looked_at, more = 0, True
        while more and looked_at < most and len(found) < limit:
            count = min(step, most - looked_at)
            places = yield from self._next(states, place, count + 1)
            more = len(places) > count
            jobs = yield from self._look(places[:count])
            for at, job in zip(places, jobs, strict=False):
                if len(found) == limit:
                    more = True
                    break
                place = at
                looked_at += 1
                # some may have moved on since they were listed
                if job and wanted.has(job):
                    found.append(job)
        return Page(found, looked_at, f"{place[0]:.0f}-{place[1]}" if more and place else None)

    def _next(
        self, states: Sequence[JobState], below: Place | None, count: int
    ) -> Call[list[Place]]:
        """Name the first ``count`` places below one, in all states together."""
        ask = count + _AT_ONCE
        while True:
            until = below[0] if below else None
            lists: list[list[Place]] = yield Together(
                [self._jobs.newest(state, ask, until) for state in states]
            )
            # of a state that has more nothing is known below the last one that it gave
            known = max((each[-1] for each in lists if len(each) == ask), default=None)
            places = sorted(
                (
                    place
                    for each in lists
                    for place in each
                    if (below is None or place < below) and (known is None or place >= known)
                ),
                reverse=True,
            )
            if known is None or len(places) >= count:
                return places[:count]
            ask *= 2  # more than usual came into a state at one time

    def _look(self, places: Sequence[Place]) -> Call[list[Job | None]]:
        ids = [job_id for _, job_id in places]
        chunks: list[list[Job | None]] = yield Together(
            [self._jobs.look(ids[at : at + _CHUNK]) for at in range(0, len(ids), _CHUNK)]
        )
        return [job for chunk in chunks for job in chunk]


class _Wanted:
    """Which jobs are asked for."""

    def __init__(self, states: Sequence[JobState], recipient: str | None, tag: str | None) -> None:
        self._states = states
        self._address, self._domain = _recipient(recipient)
        self._tag = tag

    def has(self, job: Job) -> bool:
        """Whether ``job`` is one of them."""
        if job.state not in self._states or (self._tag and self._tag not in job.tags):
            return False
        if not self._address and not self._domain:
            return True
        addresses = [recipient.address.lower() for recipient in job.recipients]
        return any(
            each == self._address or (self._domain and each.endswith(self._domain))
            for each in addresses
        )


def _recipient(wanted: str | None) -> tuple[str, str]:
    """Read ``ann@example.org`` or ``@example.org``: an address, a domain; either may be empty."""
    if not wanted:
        return "", ""
    try:
        if wanted.startswith("@"):
            return "", Address(f"anybody{wanted}").wire.removeprefix("anybody").lower()
        return Address.parse(wanted).wire.lower(), ""
    except InvalidEmail:
        raise InvalidArgument(
            "recipient", "is an address such as ann@example.org, or a domain such as @example.org"
        ) from None


def _place(token: str | None) -> Place | None:
    if token is None:
        return None
    moment, _, job_id = token.partition("-")
    try:
        return int(moment), job_id
    except ValueError:
        raise InvalidArgument("older_than", "is what the page before has as `older`") from None
