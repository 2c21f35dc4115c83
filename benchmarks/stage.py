"""Where one trial takes place: a Redis server, an SMTP sink and a folder, all of them fresh."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from attrs import frozen
from messages import Message
from peers import Bench
from sinks import Sink, our_sink, postfix_sink

from mailer.testing import EmbeddedRedis

PATIENCE = 60.0  # seconds in which at least one more email must be done
WARM = 0.1  # the share of the emails after which the clock is started
MOST_SECONDS = 8.0  # the longest that one rate is measured
_LOOK_EVERY = 0.002


class Stuck(Exception):
    """A trial that does not get on, with what is known of the reason."""


@frozen
class Stage:
    """What a contender works with."""

    redis: EmbeddedRedis
    sink: Sink
    folder: Path
    message: Message

    @property
    def bench(self) -> Bench:
        """The same for peers, and for producers of all."""
        file = self.folder / "message.json"
        return Bench(self.redis.url, self.sink.port, self.folder, file)

    def logs(self) -> str:
        """Return the ends of all logs, for whom a trial got stuck."""
        found = (log for log in sorted(self.folder.glob("*.log")) if log.stat().st_size)
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in found)


@contextmanager
def stage(
    message: Message, sink: Literal["ours", "postfix"] = "ours", times: int = 0, **manners: float
) -> Iterator[Stage]:
    """Set the stage; all of it is gone after the block.

    Args:
        times: up to which number of an email the sink notes when it came.
        manners: of our sink; see `sink.Manners`.
    """
    server = postfix_sink() if sink == "postfix" else our_sink(times=times, **manners)
    with (
        tempfile.TemporaryDirectory(prefix="mailer-bench-") as name,
        EmbeddedRedis() as redis,
        server as running,
    ):
        here = Stage(redis, running, Path(name), message)
        message.write(here.bench.message)
        try:
            yield here
        except Stuck as stuck:
            raise Stuck(f"{stuck}\n{here.logs()}") from None


def until(count: Callable[[], int], total: int, what: str, most: float = float("inf")) -> int:
    """Wait until so many are done, for at most so many seconds; return how many are.

    Raises:
        Stuck: for `PATIENCE` seconds there was no progress.
    """
    begin = since = time.monotonic()
    done = count()
    while done < total:
        now = time.monotonic()
        if now - begin > most:
            break
        if now - since > PATIENCE:
            raise Stuck(f"{what}: still {done:,} of {total:,} after {PATIENCE:g} s")
        time.sleep(_LOOK_EVERY)
        before, done = done, count()
        since = now if done > before else since
    return done


def rate(count: Callable[[], int], total: int, what: str) -> float:
    """Measure how many are done per second, of so many that were queued before.

    From a tenth of them, when all is warm, to the last; or for `MOST_SECONDS`.
    """
    until(count, max(1, int(total * WARM)), what)
    begin, already = time.perf_counter(), count()
    done = until(count, total, what, MOST_SECONDS)
    if done <= already:
        raise Stuck(f"{what}: all {total:,} were done at once; measure with more --emails")
    return (done - already) / (time.perf_counter() - begin)
