"""The pages of the shop."""

from flask import Blueprint, request
from mailer import Email
from mailer.contrib.flask import Message
from mailer.contrib.sqlalchemy import enqueue_on_commit
from sqlalchemy.exc import IntegrityError

from flask_shop.extensions import Order, mail, sessions

orders = Blueprint("orders", __name__)


@orders.post("/questions")
def ask():
    """Send an email, by a line as written for Flask-Mail."""
    message = Message(
        "A question",
        recipients=["help@example.com"],
        body=request.form["question"],
        reply_to=request.form["email"],
    )
    message.attach("page.txt", "text/plain", request.form.get("page", "/"))
    receipt = mail.send(message)
    return {"email": receipt.id}, 202


@orders.post("/news")
def news():
    """Send an email to each reader."""
    with mail.connect() as connection:
        for reader in request.form.getlist("reader"):
            connection.send_message("News", recipients=[reader], html="<p>New <b>pens</b>!</p>")
    return {}, 202


@orders.post("/orders")
def order():
    """Save an order, and send an email if, and only if, that succeeds."""
    order = Order(customer=request.form["email"], pens=request.form["pens"])
    thanks = Email(
        from_email="Shop <shop@example.com>",
        to=order.customer,
        subject="Your order ✓",
        text=f"Thank you for {order.pens} pens!\n",
    )
    try:
        with sessions.begin() as session:
            session.add(order)
            enqueue_on_commit(session, thanks, mail.mailer)
    except IntegrityError:
        return {"error": "there is no such order"}, 409
    return {"order": request.form["pens"]}, 201
