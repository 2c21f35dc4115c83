"""Pages of Django's admin on emails: a list, and all that is recorded of one. They read Redis."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.http import urlencode

from mailer.cli.explain import standing
from mailer.client import Mailer
from mailer.contrib.django.configuration import get_mailer
from mailer.contrib.django.models import EmailJob
from mailer.errors import JobNotFound, MailerError, WrongState
from mailer.job import JobState
from mailer.listing import Page

_FILTERS = ("state", "recipient", "tag")
_COLUMNS = ("Subject", "State", "Recipient", "Tags", "Tries", "Enqueued", "Next attempt")


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[EmailJob]
else:  # which takes no type parameter when it runs
    _ModelAdmin = admin.ModelAdmin


@admin.register(EmailJob)
class EmailJobAdmin(_ModelAdmin):
    """Shows emails, and has them retried and canceled by whoever may change them.

    Nothing is read from the database, so that what works by querysets elsewhere has no use here.
    """

    list_per_page = 50

    def get_urls(self) -> list[URLPattern]:
        """There are two pages."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("<str:object_id>/change/", wrap(self.change_view), name=f"{name}_change"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds emails here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: EmailJob | None = None) -> bool:
        """Nor deletes any: records are retired after a while."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """List the emails that the filters ask for; the newest first."""
        if request.method == "POST":
            return self._act(request, request.POST.getlist("_selected_action"))
        self._check_may_view(request)
        asked = {name: request.GET.get(name, "").strip() for name in _FILTERS}
        page, counts, error = Page([], 0), {}, ""
        try:
            mailer = get_mailer()
            counts = mailer.counts()
            page = mailer.page(
                asked["state"] or None,
                self.list_per_page,
                recipient=asked["recipient"],
                tag=asked["tag"],
                older_than=request.GET.get("older"),
            )
        except MailerError as wrong:
            error = str(wrong)
        context = {
            "title": "Emails",
            "jobs": page.jobs,
            "looked_at": page.looked_at if asked["recipient"] or asked["tag"] else 0,
            "older": page.older and _query(asked | {"older": page.older}),
            "newest": _query(asked) if "older" in request.GET else "",
            "asked": asked,
            "columns": _COLUMNS,
            "states": _states(counts, asked),
            "error": error,
        }
        return self._page(request, "change_list", context | (extra_context or {}))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show all that is recorded of one email, and why it waits."""
        if request.method == "POST":
            return self._act(request, [object_id])
        self._check_may_view(request)
        try:
            mailer = get_mailer()
            job = mailer.get(object_id)
            told = standing(job, mailer.paused_relays(), datetime.now(UTC), mailer.paces())
            context = {
                "title": job.subject or job.id,
                "job": job,
                "standing": list(told),
                "metadata": msgspec.json.encode(job.metadata).decode() if job.metadata else "",
            }
        except JobNotFound as error:
            raise Http404(str(error)) from None
        except MailerError as error:
            context = {"title": object_id, "error": str(error)}
        return self._page(request, "change_form", context | (extra_context or {}))

    def _check_may_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        shared = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "has_change_permission": self.has_change_permission(request),
        }
        return TemplateResponse(request, f"admin/mailer/emailjob/{name}.html", shared | context)

    def _act(self, request: HttpRequest, job_ids: list[str]) -> HttpResponse:
        """Retry or cancel jobs, one by one: others go on where one can't be changed."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        action = request.POST.get("action", "")
        done = 0
        try:
            change = _ACTIONS[action]
            mailer = get_mailer()
            for job_id in job_ids:
                try:
                    change(mailer, job_id)
                except (JobNotFound, WrongState) as error:
                    self.message_user(request, str(error), messages.WARNING)
                else:
                    done += 1
                    self.log_change(request, EmailJob(pk=job_id), f"{action} by hand")
        except KeyError:
            self.message_user(request, "No action selected.", messages.WARNING)
        except MailerError as error:
            self.message_user(request, str(error), messages.ERROR)
        if done:
            said = f"{done} email{'s' if done > 1 else ''}: {_DONE[action]}."
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(request.get_full_path())


def _cancel(mailer: Mailer, job_id: str) -> None:
    if not mailer.cancel(job_id):
        raise WrongState(f"it is too late to cancel the job {job_id}")


_ACTIONS: dict[str, Callable[[Mailer, str], None]] = {"retry": Mailer.retry, "cancel": _cancel}
_DONE = {"retry": "due now", "cancel": "canceled"}


def _query(parameters: dict[str, str]) -> str:
    return "?" + urlencode({name: value for name, value in parameters.items() if value})


def _states(counts: dict[JobState, int], asked: dict[str, str]) -> list[dict[str, Any]]:
    """Name each state, with how many jobs are in it and where they are listed."""
    choices = [("", "all", sum(counts.values()))]
    choices += [(state, state.replace("_", " "), count) for state, count in counts.items()]
    return [
        {
            "name": name,
            "count": count,
            "query": _query(asked | {"state": state}),
            "selected": state == asked["state"],
        }
        for state, name, count in choices
    ]
