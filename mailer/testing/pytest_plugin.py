"""For pytest: the fixture ``smtp_server``. Installed with the package; see docs/testing.md."""

from collections.abc import Iterator

import pytest

from mailer.testing.smtp import SmtpServerThread


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "smtp_server(**options): how the server of the fixture smtp_server behaves"
    )


@pytest.fixture
def smtp_server(request: pytest.FixtureRequest) -> Iterator[SmtpServerThread]:
    """An SMTP server of the test's own, on a free port, which keeps what it accepts."""
    marker = request.node.get_closest_marker("smtp_server")
    with SmtpServerThread(**(marker.kwargs if marker else {})) as server:
        yield server
