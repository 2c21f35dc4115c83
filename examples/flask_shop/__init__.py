"""A shop as Flask-Mail's users write one: a factory, extensions, a blueprint; orders in a database.

MAILER_REDIS_URL=redis://127.0.0.1:6379/0 flask --app examples/flask_shop run
"""

from flask import Flask
from mailer import InvalidEmail, StoreUnavailable
from sqlalchemy import create_engine

from flask_shop.extensions import Base, mail, sessions
from flask_shop.orders import orders


def create_app(**config):
    app = Flask(__name__)
    app.config.from_mapping(
        MAIL_DEFAULT_SENDER=("Shop", "shop@example.com"), DATABASE_URL="sqlite:///shop.db"
    )
    app.config.from_prefixed_env()  # FLASK_DATABASE_URL
    app.config.from_mapping(config)

    engine = create_engine(app.config["DATABASE_URL"])
    Base.metadata.create_all(engine)
    sessions.configure(bind=engine)
    mail.init_app(app)
    app.register_blueprint(orders)

    @app.errorhandler(InvalidEmail)
    def refuse(error):
        return {"error": str(error)}, 400

    @app.errorhandler(StoreUnavailable)
    def later(error):
        return {"error": "Try again in some seconds."}, 503, {"Retry-After": "5"}

    return app
