"""An `AsyncMailer` for FastAPI applications, as a dependency.

>>> app = FastAPI(lifespan=mailer_lifespan)
>>> @app.post("/orders")
... async def order(mailer: MailerDependency): ...
"""

from typing import Annotated, TypeAlias

try:
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "mailer.contrib.fastapi needs FastAPI: pip install 'celery-mailer[fastapi]'"
    ) from None

from mailer.async_client import AsyncMailer
from mailer.contrib.starlette import mailer_lifespan, mailer_of, store_unavailable

__all__ = ["MailerDependency", "get_mailer", "mailer_lifespan", "mailer_of", "store_unavailable"]


async def get_mailer(connection: HTTPConnection) -> AsyncMailer:  # else it is run in a thread
    """Return the application's mailer; for ``app.dependency_overrides`` in tests."""
    return mailer_of(connection)


MailerDependency: TypeAlias = Annotated[AsyncMailer, Depends(get_mailer)]
