"""A web app that sends email without waiting for an SMTP server."""

from flask import Flask, request
from mailer import Email, InvalidEmail, Mailer

app = Flask(__name__)
mailer = Mailer()  # MAILER_REDIS_URL


@app.post("/orders")
def order():
    customer = request.form["email"]
    thanks = Email(
        from_email="shop@example.com", to=customer, subject="Your order ✓", text="Thanks!"
    )
    return {"email": mailer.enqueue(thanks).id}, 202


@app.get("/emails/<job_id>")
def email(job_id):
    return {"state": mailer.get(job_id).state}


@app.errorhandler(InvalidEmail)
def refuse(error):
    return {"error": str(error)}, 400
