"""How a Starlette or FastAPI application comes to its mailer."""

from functools import partial

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from mailer import AsyncMailer, NotDurable, QueueFull, StoreUnavailable, load_settings
from mailer.contrib.fastapi import MailerDependency, get_mailer, mailer_lifespan, mailer_of
from mailer.contrib.starlette import store_unavailable

NOWHERE = load_settings(redis_url="redis://127.0.0.1:1")
lifespan = partial(mailer_lifespan, settings=NOWHERE)


async def answer(app, path: str = "/", state: dict | None = None) -> tuple[int, dict, bytes]:
    """Ask an application as a server does: status, headers, body."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "state": dict(state or {}),
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(part.get("body", b"") for part in bodies)


async def which(request):
    return PlainTextResponse(str(id(mailer_of(request))))


async def test_a_request_finds_the_mailer_of_its_application():
    app = Starlette(routes=[Route("/", which)], lifespan=lifespan)
    async with app.router.lifespan_context(app) as state:
        assert isinstance(app.state.mailer, AsyncMailer)
        by_app = await answer(app)
        by_request = await answer(app, state=state)
        mine = str(id(app.state.mailer)).encode()
    assert by_app[2] == by_request[2] == mine


async def test_an_application_that_is_mounted_uses_the_mailer_of_the_outer_one():
    app = Starlette(
        routes=[Mount("/shop", Starlette(routes=[Route("/", which)]))], lifespan=lifespan
    )
    async with app.router.lifespan_context(app) as state:
        status, _, body = await answer(app, "/shop/", state)
        assert (status, body) == (200, str(id(app.state.mailer)).encode())


async def test_an_application_that_was_not_started_says_how_to():
    app = Starlette()
    scope = {"type": "websocket", "app": app}
    with pytest.raises(RuntimeError, match="lifespan=mailer_lifespan"):
        mailer_of(HTTPConnection(scope))


async def test_the_dependency_is_the_mailer_and_can_be_another_one_in_tests():
    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def page(mailer: MailerDependency) -> int:
        return id(mailer)

    async with app.router.lifespan_context(app):
        assert (await answer(app))[2] == str(id(app.state.mailer)).encode()
        other = object()
        app.dependency_overrides[get_mailer] = lambda: other
        assert (await answer(app))[2] == str(id(other)).encode()


@pytest.mark.parametrize("error", [StoreUnavailable, QueueFull, NotDurable])
async def test_an_email_that_can_not_be_taken_now_is_answered_with_when_to_ask_again(error, caplog):
    async def page(request):
        raise error("Redis is at 10.0.0.1")

    app = Starlette(
        routes=[Route("/", page)], exception_handlers={StoreUnavailable: store_unavailable}
    )
    status, headers, body = await answer(app)
    assert (status, headers["retry-after"]) == (503, "5")
    assert b"10.0.0.1" not in body
    assert "10.0.0.1" in caplog.text, "the operator is told"
