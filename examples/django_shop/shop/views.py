"""Orders: each request is a transaction, and the email leaves if it is committed."""

from functools import partial

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from mailer.contrib.django import MailerMessage, get_mailer

from .models import Order


class SoldOut(Exception):
    """There is nothing left to send."""


@csrf_exempt  # for curl; a form would bring a token
@require_POST
def order(request):
    order = Order(email=request.POST.get("email", ""), item=request.POST.get("item", ""))
    try:
        order.full_clean()
    except ValidationError as error:
        return JsonResponse({"errors": error.message_dict}, status=400)
    order.save()
    thank_for(order)
    if order.item == "unicorn":
        raise SoldOut  # nothing is kept of the order, and no email leaves
    return JsonResponse({"order": order.pk}, status=202)


def thank_for(order):
    message = MailerMessage(
        subject=f"Your order {order.pk} ✓",
        body=render_to_string("shop/thanks.txt", {"order": order}),
        to=[order.email],
    )
    message.attach_alternative(render_to_string("shop/thanks.html", {"order": order}), "text/html")
    message.mailer = {"metadata": {"order": order.pk}}
    message.send()
    # what is registered after `send` runs after it, when the job's id is known
    transaction.on_commit(partial(note_job, order, message))


def note_job(order, message):
    Order.objects.filter(pk=order.pk).update(job_id=message.job_id)


def email(request, order_id):
    order = get_object_or_404(Order, pk=order_id)
    return JsonResponse({"email": get_mailer().get(order.job_id).state})
