"""An `AsyncMailer` for Starlette applications; ``fastapi`` has the dependency on top.

>>> app = Starlette(routes, lifespan=mailer_lifespan)
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

try:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import JSONResponse
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "mailer.contrib.starlette needs Starlette: pip install 'celery-mailer[fastapi]'"
    ) from None

from mailer.async_client import AsyncMailer
from mailer.settings import Settings

log = logging.getLogger(__name__)

_RETRY_AFTER = "5"  # seconds


@asynccontextmanager
async def mailer_lifespan(
    app: Starlette, *, redis_url: str | None = None, settings: Settings | None = None
) -> AsyncIterator[Mapping[str, Any]]:
    """Give an application an `AsyncMailer` as long as it runs.

    It is in ``app.state.mailer`` and in what is yielded, from where it comes into
    ``request.state.mailer``, also of applications that are mounted in this one. An application with
    a lifespan of its own says ``async with mailer_lifespan(app) as state`` in there.

    Args:
        redis_url, settings: see `AsyncMailer`.
    """
    async with AsyncMailer(redis_url, settings=settings) as mailer:
        app.state.mailer = mailer
        yield {"mailer": mailer}


def mailer_of(connection: HTTPConnection) -> AsyncMailer:
    """Return the mailer for a request, or for a WebSocket.

    Raises:
        RuntimeError: the application was not started by its lifespan.
    """
    for state in (connection.state, connection.app.state):
        mailer: AsyncMailer | None = getattr(state, "mailer", None)
        if mailer:
            return mailer
    raise RuntimeError(
        "the application has no mailer: make it with lifespan=mailer_lifespan, and test it within "
        "`with TestClient(app)`"
    )


async def store_unavailable(request: Request, error: Exception) -> JSONResponse:
    """Answer 503 with Retry-After where an email can't be taken now.

    For ``exception_handlers={StoreUnavailable: store_unavailable}``, which `QueueFull` and
    `NotDurable` are, too. Whether the email was recorded may be unknown: who repeats the request
    must come to the same ``idempotency_key``, or may send it twice.
    """
    log.warning("an email could not be taken: %s", error)
    return JSONResponse(
        {"detail": "Email can't be taken now. Try again in some seconds."},
        status_code=503,
        headers={"Retry-After": _RETRY_AFTER},
    )
