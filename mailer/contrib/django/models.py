"""What Django's admin and permissions need to have pages on emails."""

from typing import ClassVar

from django.db import models


class _NoRows(models.Manager["EmailJob"]):
    def get_queryset(self) -> "models.QuerySet[EmailJob]":
        return super().get_queryset().none()


class EmailJob(models.Model):
    """A job, which is in Redis: there is no table, and whoever asks the database finds no row."""

    id: "models.CharField[str, str]" = models.CharField(primary_key=True, max_length=36)

    objects: ClassVar[_NoRows] = _NoRows()

    class Meta:
        """Its permissions: to look, and to retry and cancel."""

        managed = False
        default_permissions = ("view", "change")
        base_manager_name = "objects"  # dumpdata --all
        verbose_name = "email"

    def __str__(self) -> str:
        return self.id
