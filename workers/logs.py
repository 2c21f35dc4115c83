"""The workers' log lines: through Celery's own logging, so that its options hold for them too."""

import structlog


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
