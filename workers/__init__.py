"""What runs beside a relay: a Celery app whose workers dispatch and deliver email.

``celery -A workers worker`` starts one. In the order in which an email meets them: ``dispatcher``,
``carriage``, ``tasks``, ``courier``, ``delivery``, ``smtp``, ``outcome``, ``settlement``,
``journal``.
"""

from workers.app import app as celery

__all__ = ["celery"]
