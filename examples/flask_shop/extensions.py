"""What the parts of the shop share."""

from mailer.contrib.flask import Mail
from sqlalchemy import CheckConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

mail = Mail()
sessions = sessionmaker()


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
    """One order."""

    __tablename__ = "orders"
    __table_args__ = (CheckConstraint("pens > 0"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    pens: Mapped[int]
