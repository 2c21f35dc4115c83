"""The workers' log lines: through Celery's own logging, so that its options hold for them too."""

import logging

import structlog

from mailer.job import Decision
from mailer.store.agenda import Result

_LEVELS = {
    Decision.SENT: logging.DEBUG,
    Decision.FAIL: logging.WARNING,
    Decision.INTERRUPTED: logging.WARNING,
}
_logger = logging.getLogger(__name__)
log = structlog.get_logger(__name__)


def configure_logs() -> None:
    """Render ``log.info("deferred", job=…)`` as ``event='deferred' job=…`` on the logger's name."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["event"], drop_missing=True),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def log_result(result: Result) -> None:
    """Tell operators what an attempt came to, as loudly as it matters."""
    attempt = result.attempt
    if attempt is None:
        log.info("handed back", job=result.lease.job_id)
        return
    level = _LEVELS.get(attempt.decision, logging.INFO)
    if not _logger.isEnabledFor(level):  # known here, before the words are put together
        return
    log.log(
        level,
        result.state,
        job=result.lease.job_id,
        attempt=attempt.n,
        phase=attempt.phase,
        code=attempt.code,
        enhanced_code=attempt.enhanced_code,
        next_attempt_at=attempt.next_attempt_at,
    )
