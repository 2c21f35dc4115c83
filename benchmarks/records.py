"""Writing and reading a job's message: msgspec against ``json`` and pydantic.

A 4 KB email to three recipients. Alternately, best of several rounds each. Only the first way has
the checks of `mailer.Address` in it, which are Python code. See docs/decisions/0003.
Takes some 10 s.
"""

import json
import timeit

import msgspec
from pydantic import BaseModel

from mailer import Email, load_settings
from mailer.enqueueing import new_job
from mailer.message import Message

ROUNDS, TIMES = 15, 2000


class PlainAddress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Like `mailer.Address`, unchecked."""

    email: str
    name: str = ""


class PlainMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Like `Message`, without attachments."""

    message_id: str
    sender: PlainAddress
    date: int = 0
    to: tuple[PlainAddress, ...] = ()
    cc: tuple[PlainAddress, ...] = ()
    reply_to: tuple[PlainAddress, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class PydanticAddress(BaseModel):
    """Like `mailer.Address`, unchecked."""

    email: str
    name: str = ""


class PydanticMessage(BaseModel):
    """Like `Message`, without attachments."""

    message_id: str
    sender: PydanticAddress
    date: int = 0
    to: tuple[PydanticAddress, ...] = ()
    cc: tuple[PydanticAddress, ...] = ()
    reply_to: tuple[PydanticAddress, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def message() -> Message:
    """Make the part of a record that costs most."""
    email = Email(
        from_email="Shop <shop@example.com>",
        to=["Jörg Müller <jm@example.org>", "ann@example.org"],
        cc="bob@example.org",
        subject="Your order ✓",
        text="A line of a letter, as they are.\n" * 50,
        html="<p>Absatz: schöne Grüße</p>" * 70,
        headers={"X-Order": "42"},
    )
    return new_job(email, load_settings(redis_url="redis://nowhere.invalid")).message


def main() -> None:
    """Print times, and their ratios to those of msgspec alone."""
    record = message()
    written = msgspec.json.encode(record)
    read = msgspec.json.Decoder(Message).decode
    plain = msgspec.to_builtins(record)
    model = PydanticMessage.model_validate_json(written)
    read_plain = msgspec.json.Decoder(PlainMessage).decode
    ways = {
        "as it is": (lambda: msgspec.json.encode(record), lambda: read(written)),
        "msgspec, no checks": (lambda: msgspec.json.encode(record), lambda: read_plain(written)),
        "json, plain dicts": (
            lambda: json.dumps(plain, ensure_ascii=False).encode(),
            lambda: json.loads(written),
        ),
        "pydantic": (
            lambda: model.model_dump_json(exclude_defaults=True).encode(),
            lambda: PydanticMessage.model_validate_json(written),
        ),
    }
    best = {name: [1e9, 1e9] for name in ways}
    for _ in range(ROUNDS):
        for name, both in ways.items():
            for i, way in enumerate(both):
                best[name][i] = min(best[name][i], timeit.timeit(way, number=TIMES) / TIMES)
    print(f"{len(written)} bytes{'write':>22}{'read':>21}")
    for name, times in best.items():
        ratios = [time / base for time, base in zip(times, best["msgspec, no checks"], strict=True)]
        cells = [f"{t * 1e6:8.1f} µs  x{r:4.1f}" for t, r in zip(times, ratios, strict=True)]
        print(f"{name:20}{'   '.join(cells)}")


if __name__ == "__main__":
    main()
