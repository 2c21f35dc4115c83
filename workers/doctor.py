"""The part of ``mailer doctor`` that needs Celery and SMTP: ``python -m workers.doctor``.

Prints a JSON list of findings; `mailer.cli.doctor` shows them.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from itertools import chain

import attrs
import msgspec
from celery import Celery

from mailer.cli.doctor import Finding, Verdict
from mailer.dkim.record import problem_with
from mailer.dkim.signing import dkim_keys
from mailer.errors import InvalidSetting
from mailer.settings import Settings
from workers.app import app
from workers.outcomes.own_rules import rules
from workers.relays.limits import Limits
from workers.relays.relay import Relay, relays
from workers.relays.routes import Routes
from workers.sandbox.fates import Sandbox
from workers.smtp.connector import Connector, RelayFault

_PATIENCE = 20.0  # seconds for the relay; a worker would wait longer
_ANSWERS_WITHIN = 1.0  # seconds for the workers


def examine(app: Celery, settings: Settings) -> Iterator[Finding]:
    """Check what a worker depends on."""
    yield from _sandbox(settings)
    yield from _broker(app)
    yield from _roots(settings)
    yield from _dkim(settings)
    yield from _relays(settings)


def _sandbox(settings: Settings) -> Iterator[Finding]:
    try:
        sandbox = Sandbox.read(settings)
    except InvalidSetting as error:
        yield Finding("sandbox", Verdict.BAD, str(error), "correct it")
        return
    if sandbox:
        advice = "unset MAILER_SANDBOX where email shall reach people"
        yield Finding("sandbox", Verdict.DOUBTFUL, f"sandbox mode: {sandbox}", advice)


def _broker(app: Celery) -> Iterator[Finding]:
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_PATIENCE)
            where = connection.as_uri()  # without its password
    except Exception as error:  # noqa: BLE001 - the broker client raises what it likes
        yield Finding("broker", Verdict.BAD, str(error), "start it, or set MAILER_BROKER_URL")
        return
    yield Finding("broker", Verdict.GOOD, where)
    names = sorted(app.control.inspect(timeout=_ANSWERS_WITHIN).ping() or {})
    if names:
        yield Finding("workers", Verdict.GOOD, ", ".join(names))
    else:
        yield Finding("workers", Verdict.DOUBTFUL, "none answers", "start one: mailer worker")


def _roots(settings: Settings) -> Iterator[Finding]:
    for root in settings.attachment_roots:
        if root.is_dir() and os.access(root, os.R_OK | os.X_OK):
            yield Finding("attachments", Verdict.GOOD, str(root))
        else:
            advice = "create or mount it, or change MAILER_ATTACHMENT_ROOTS"
            yield Finding("attachments", Verdict.BAD, f"{root} can't be read", advice)


def _dkim(settings: Settings) -> Iterator[Finding]:
    try:
        keys = dkim_keys(settings)
    except InvalidSetting as error:
        yield Finding("DKIM", Verdict.BAD, str(error), "correct it in mailer.toml")
        return
    for key in chain.from_iterable(keys.values()):
        name = f"{key.algorithm} at {key.dns_name}"
        if problem := problem_with(key):
            yield Finding("DKIM", Verdict.DOUBTFUL, name, problem)
        else:
            yield Finding("DKIM", Verdict.GOOD, name)


def _relays(settings: Settings) -> Iterator[Finding]:
    try:
        named = relays(settings)
        Routes.read(settings, named)
        Limits.read(settings)
        rules(settings)
    except InvalidSetting as error:
        yield Finding("relay", Verdict.BAD, str(error), "correct it in mailer.toml")
        return
    for relay in named.values():
        yield asyncio.run(_relay(relay, settings))


async def _relay(relay: Relay, settings: Settings) -> Finding:
    patience = min(_PATIENCE, settings.smtp_connect_seconds)
    connector = attrs.evolve(Connector.of(relay, settings), connect_timeout=patience)
    try:
        session = await connector()
    except RelayFault as fault:
        found = f"{relay.name}: {fault.phase}: {fault.reason}"
        setting = f"relays.{relay.name}.url" if settings.relays else "MAILER_RELAY_URL"
        return Finding("relay", Verdict.BAD, found, _advice(fault.phase, setting))
    await session.quit()
    signed_in = f", signed in as {relay.username}" if relay.username else ""
    offers = ", ".join(sorted(session.extensions)) or "no extensions"
    return Finding("relay", Verdict.GOOD, f"{relay.name}, TLS {relay.tls}{signed_in}; {offers}")


def _advice(phase: str, setting: str) -> str:
    return {
        "connect": f"check host and port in {setting}, and the firewall",
        "tls": "check the certificate's name and issuer; smtps:// is for port 465",
        "auth": f"check user and password in {setting}; special characters are %-encoded",
    }.get(phase, "")


def main() -> None:
    """Print the findings as JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(list(examine(app, app.settings))))


if __name__ == "__main__":
    main()
