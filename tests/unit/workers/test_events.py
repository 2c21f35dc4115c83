"""Task events go to monitors that ask for them, and cost nothing where none does."""

import asyncio
from contextlib import suppress

import pytest
from celery import Celery

from workers import events
from workers.events import TaskEvents


@pytest.fixture
def app():
    app = Celery("events", broker="memory://", set_as_current=False)
    yield app
    app.close()


async def heard_after(app, announced, *, wanted):
    """What a monitor hears of jobs that are canceled before it asks, or never does."""
    heard = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        with receiver.consumer_context(wakeup=False) as (channel, _, _):
            publishing = asyncio.create_task(announced.keep_publishing())
            announced.canceled(["a", "b"])
            await asyncio.sleep(3 * events._EVERY)
            wanted()
            await asyncio.sleep(3 * events._EVERY)
            publishing.cancel()
            with suppress(TimeoutError):
                await asyncio.to_thread(channel.drain_events, timeout=0.5)
    return [event["uuid"] for event in heard]


async def test_a_monitor_that_asks_a_moment_after_the_start_misses_nothing(app):
    asked = []
    announced = TaskEvents(app, "w@h", lambda: bool(asked))
    assert await heard_after(app, announced, wanted=lambda: asked.append(1)) == ["a", "b"]


async def test_what_nobody_asks_for_in_time_is_let_go(app, monkeypatch):
    monkeypatch.setattr(events, "_KEPT", 0.0)
    asked = []
    announced = TaskEvents(app, "w@h", lambda: bool(asked))
    assert await heard_after(app, announced, wanted=lambda: asked.append(1)) == []


async def test_nothing_is_sent_as_long_as_nobody_asks(app):
    announced = TaskEvents(app, "w@h", lambda: False)
    assert await heard_after(app, announced, wanted=lambda: None) == []
