"""What an email costs Redis, counted: a step that asks for more than it did makes these fail.

Counts, not times: they are the same on every machine. Where a change makes one smaller, make its
bound smaller too.
"""

from collections.abc import Awaitable, Callable

import pytest
from reports import accepted

from mailer import Email, Mailer, load_settings

EMAILS = 100  # in one chunk, and in one batch
TEXT = "A letter of some lines.\n" * 40
# per email: commands that Redis runs, those within scripts included; and bytes on the wire, those
# of the email itself included (some 1,000 of them are its text)
COMMANDS = {"enqueue": 4.1, "claim": 0.11, "begin": 5.1, "finish": 6.1}
WRITTEN = {"enqueue": 1350, "claim": 3, "begin": 120, "finish": 350}
READ = {"enqueue": 4.5, "claim": 45, "begin": 1380, "finish": 4.2}


def email(i: int) -> Email:
    to = f"Ann <ann{i:04}@example.org>"
    return Email(from_email="Shop <shop@example.com>", to=to, subject=f"Order {i:04}", text=TEXT)


@pytest.fixture
async def costs(own_store, key_prefix):
    """Deliver a hundred emails step by step; what each step costs, by its name."""
    found: dict[str, tuple[float, float, float]] = {}
    store = own_store
    url = "redis://127.0.0.1:{port}/{db}".format(**store.raw.get_connection_kwargs())
    settings = load_settings(redis_url=url, key_prefix=key_prefix)

    def look() -> tuple[int, int, int]:
        info = store.raw.info("everything")
        calls = [v["calls"] for k, v in info.items() if k.startswith("cmdstat_")]
        return sum(calls), info["total_net_input_bytes"], info["total_net_output_bytes"]

    async def step(name: str, run: Callable[[], Awaitable[object]]) -> None:
        idle, before = look(), look()
        await run()
        after = look()
        # what looking costs is left out
        spent = (c - b - (b - a) for a, b, c in zip(idle, before, after, strict=True))
        found[name] = tuple(number / EMAILS for number in spent)

    async def deliver() -> None:
        async def enqueue() -> None:
            mailer.enqueue_many(map(email, range(EMAILS)))

        async def claim() -> None:
            nonlocal ids
            claimed = await store.run(store.agenda.claim(EMAILS, EMAILS, 60))
            ids = [job_id for lane in claimed.ids.values() for job_id in lane]

        async def begin() -> None:
            nonlocal jobs
            jobs = await store.run(store.agenda.begin(ids, "mailer@worker-1", 60))

        async def finish() -> None:
            await store.run(store.agenda.finish([accepted(job) for job in jobs]))

        ids, jobs = [], []
        for run in (enqueue, claim, begin, finish):
            await step(run.__name__, run)
        assert len(jobs) == EMAILS

    with Mailer(settings=settings) as mailer:
        await deliver()  # the server learns the scripts
        await deliver()
    return found


async def test_redis_runs_no_more_commands_for_an_email(costs):
    assert {name: cost[0] for name, cost in costs.items() if cost[0] > COMMANDS[name]} == {}


async def test_no_more_bytes_cross_the_wire_to_and_from_redis(costs):
    assert {name: cost[1] for name, cost in costs.items() if cost[1] > WRITTEN[name]} == {}
    assert {name: cost[2] for name, cost in costs.items() if cost[2] > READ[name]} == {}


async def test_the_bounds_are_near_what_is_needed(costs):
    """A bound that leaves room would let the next step ask for more without a word."""
    for name, (commands, written, read) in costs.items():
        assert commands >= 0.9 * COMMANDS[name], (name, commands)
        assert written >= 0.9 * WRITTEN[name], (name, written)
        assert read >= 0.9 * READ[name], (name, read)
