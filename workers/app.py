"""The Celery app. Each setting that bears on reliability has its reason beside it."""

from typing import Any

from celery import Celery
from celery.signals import after_setup_logger

from mailer.loading import current_settings
from mailer.settings import Settings
from workers.bootstep import CourierStep
from workers.carriage import PRIORITIES, QUEUE

INCLUDED = ["workers.tasks", "workers.control"]


def make_app(settings: Settings) -> Celery:
    """Make the app that ``celery -A workers worker`` runs."""
    app = Celery("mailer", broker=settings.broker.get_secret_value(), include=INCLUDED)
    timeout = settings.store_timeout_seconds
    app.conf.update(
        # ids only, and nothing that could run code when it is read
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        # outcomes are in the job records; Celery's results would repeat them
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=QUEUE,
        # a batch that gets lost comes up again from the agenda, so it is acknowledged at once:
        # late acknowledgement would only make the broker deliver a second copy of the ids
        task_acks_late=False,
        # one batch at a time beyond those that run: what is prefetched is out of reach of others
        worker_prefetch_multiplier=1,
        # deliveries share one event loop; threads only carry batches to it
        worker_pool="threads",
        worker_concurrency=4,
        # for whoever asks, as Flower does every five seconds; see workers.events
        worker_send_task_events=False,
        worker_enable_remote_control=True,
        # a broker that is away when the worker starts, or goes later, is waited for
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # so is one that refuses to write, as after a failover
        broker_channel_error_retry=True,
        # the worker goes on with its transactions while the broker is away
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options=_transport_options(settings, timeout),
        # these would hold retries in the workers' memory; ours wait on the agenda
        task_publish_retry=False,
    )
    app.steps["worker"].add(CourierStep)
    app.settings = settings
    return app


def _transport_options(settings: Settings, timeout: float) -> dict[str, Any]:
    if not settings.broker.get_secret_value().startswith(("redis", "valkey", "sentinel")):
        return {}
    return {
        "global_keyprefix": f"{{{settings.key_prefix}}}:broker:",
        # nothing is kept in Redis until it is acknowledged: for us it need not be, it would be two
        # more round trips a batch, and kombu 5.7 ends the worker when it can't give such a message
        # back, as when Redis is started again
        "ack_emulation": False,
        # without these, publishing to a frozen Redis would hang for ever
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # urgent batches are fetched before others: the transport's lists are asked in this order
        "queue_order_strategy": "priority",
        "priority_steps": list(PRIORITIES.values()),
    }


@after_setup_logger.connect  # type: ignore[untyped-decorator]  # Celery publishes no types
def _quieten(logger: Any, **_: Any) -> None:
    """Leave Celery's line per carrier task out of the log; ours tell about every email."""
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logger.manager.getLogger(name).setLevel("WARNING")


app = make_app(current_settings())
