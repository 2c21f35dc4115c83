"""A shop that never blocks its event loop, also while Redis is away.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 uvicorn --app-dir examples fastapi_shop.main:app
"""

from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse
from mailer import Email, InvalidEmail, JobNotFound, StoreUnavailable
from mailer.contrib.fastapi import MailerDependency, mailer_lifespan, store_unavailable
from pydantic import BaseModel


class Order(BaseModel):
    """What a customer sends."""

    email: str
    pens: int


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with mailer_lifespan(app) as state:  # beside what else the application needs
        yield {**state, "price": 3}


app = FastAPI(lifespan=lifespan, exception_handlers={StoreUnavailable: store_unavailable})


@app.post("/orders", status_code=202)
async def order(
    order: Order,
    request: Request,
    mailer: MailerDependency,
    idempotency_key: Annotated[str | None, Header()] = None,
):
    thanks = Email(
        from_email="Shop <shop@example.com>",
        to=order.email,
        subject="Your order ✓",
        text=f"{order.pens} pens for {order.pens * request.state.price} €. Thank you!\n",
        idempotency_key=idempotency_key,  # who tries again after a 503 gets one email
    )
    receipt = await mailer.enqueue(thanks)
    return {"email": receipt.id}


@app.get("/emails/{job_id}")
async def email(job_id: str, mailer: MailerDependency):
    job = await mailer.get(job_id)
    return {"state": job.state}


@app.get("/")
async def home():
    return {"pens": "blue"}


@app.exception_handler(InvalidEmail)
async def refuse(request: Request, error: InvalidEmail):
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.exception_handler(JobNotFound)
async def not_found(request: Request, error: JobNotFound):
    return JSONResponse({"detail": "there is no such email"}, status_code=404)
