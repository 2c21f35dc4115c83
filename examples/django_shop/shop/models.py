"""What the shop keeps in its database."""

from django.db import models


class Order(models.Model):
    """An order, and the job of the email that thanks for it."""

    email = models.EmailField()
    item = models.CharField(max_length=100)
    job_id = models.CharField(max_length=36, blank=True)
