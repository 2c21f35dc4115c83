"""FastAPI and Starlette applications, as users write them; see user_code.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, assert_type

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mailer import AsyncMailer, Email, Receipt, StoreUnavailable, load_settings
from mailer.contrib.fastapi import (
    MailerDependency,
    get_mailer,
    mailer_lifespan,
    mailer_of,
    store_unavailable,
)

app = FastAPI(lifespan=mailer_lifespan, exception_handlers={StoreUnavailable: store_unavailable})


@app.post("/orders")
async def order(mailer: MailerDependency) -> None:
    """Send from a path operation."""
    assert_type(mailer, AsyncMailer)
    email = Email(from_email="shop@example.com", to="ann@example.org")
    assert_type(await mailer.enqueue(email), Receipt)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Compose it with what else the application needs."""
    async with mailer_lifespan(app, settings=load_settings()) as state:
        yield {**state, "price": 3}


composed = FastAPI(lifespan=lifespan)
composed.dependency_overrides[get_mailer] = lambda: AsyncMailer("redis://127.0.0.1/1")


async def page(request: Request) -> PlainTextResponse:
    """Send from an endpoint of Starlette."""
    assert_type(mailer_of(request), AsyncMailer)
    return PlainTextResponse("")


plain = Starlette(
    routes=[Route("/", page)],
    lifespan=partial(mailer_lifespan, redis_url="redis://127.0.0.1/1"),
)
plain.add_exception_handler(StoreUnavailable, store_unavailable)
