"""For pytest: the fixtures of docs/testing.md. Installed with the package.

It stands beside the package, and imports it in fixtures only: every pytest of an environment in
which the mailer is installed loads this file, whether it tests email or not.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mailer.testing import LiveWorker, Outbox, SmtpServerThread


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "smtp_server(**options): how the server of the fixture smtp_server behaves"
    )


@pytest.fixture
def mailer_outbox() -> "Iterator[Outbox]":
    """A list of what would have been sent; nothing leaves, and no Redis of yours is touched."""
    from mailer.testing import outbox  # noqa: PLC0415 - see above; so below

    with outbox() as box:
        yield box


@pytest.fixture
def smtp_server(request: pytest.FixtureRequest) -> "Iterator[SmtpServerThread]":
    """An SMTP server of the test's own, on a free port, which keeps what it accepts."""
    from mailer.testing import SmtpServerThread  # noqa: PLC0415

    marker = request.node.get_closest_marker("smtp_server")
    with SmtpServerThread(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture(scope="session")
def mailer_worker_settings() -> Mapping[str, str]:
    """Settings of the worker of ``mailer_worker``, such as ``MAILER_RETRY_DELAYS``: override it."""
    return {}


@pytest.fixture(scope="session")
def _live_worker(mailer_worker_settings: Mapping[str, str]) -> "Iterator[LiveWorker]":
    from mailer.testing import LiveWorker  # noqa: PLC0415

    with LiveWorker(mailer_worker_settings) as worker:
        yield worker


@pytest.fixture
def mailer_worker(_live_worker: "LiveWorker") -> "Iterator[LiveWorker]":
    """A worker process with its Redis and SMTP server, the same for all tests of a run."""
    yield _live_worker
    _live_worker.clear()
