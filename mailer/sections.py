"""The tables of ``mailer.toml``, as they are written there; ``settings`` has the plain values."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

TEN_YEARS = 10 * 366 * 24 * 3600
Seconds = Annotated[float, Field(gt=0, le=TEN_YEARS, allow_inf_nan=False)]
# what may be given several times may be given once, without brackets
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class Section(BaseModel):
    """One table."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DkimKeySettings(Section):
    """One key with which a domain's messages are signed: in a file, or here."""

    selector: str
    key_file: Path | None = None
    key: SecretStr | None = None


class RelaySettings(Section):
    """One relay, ``[relays.NAME]``."""

    url: SecretStr = Field(description="As `MAILER_RELAY_URL`; also `lmtp://`, `lmtp+unix:///`.")
    connections: int | None = Field(
        None, ge=1, le=1000, description="Of one worker process; else `MAILER_CONNECTIONS`."
    )
    late_connections: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="How many more, while messages wait for late answers; else 0 where there is "
        "`max_connections`, or `MAILER_LATE_CONNECTIONS`, or ten times `connections`.",
    )
    messages_per_connection: int = Field(1000, ge=1, description="Then it is closed.")
    connection_seconds: Seconds = Field(600.0, description="Its age at which it is closed.")
    ca_file: Path | None = Field(None, description="The only issuers of certificates trusted.")
    client_certificate: Path | None = Field(None, description="Ours, with its chain.")
    client_key: Path | None = Field(None, description="Of it, where that is another file.")
    token_command: tuple[str, ...] = Field(
        (), description="Prints the access token for XOAUTH2; program and arguments."
    )
    token_file: Path | None = Field(None, description="Has the access token.")
    token_function: str | None = Field(
        None, description="`package.module:function`, which returns the access token."
    )
    rate: Names = Field((), description="What all workers may send: `20/s`, or several.")
    burst: int | None = Field(None, ge=1, description="How many may go at once.")
    max_connections: int | None = Field(None, ge=1, description="Of all workers together.")
    without: Names = Field((), description="SMTP extensions not to be used, such as `CHUNKING`.")


class LimitSettings(Section):
    """How much of what goes to some domains may be sent, ``[limits.NAME]``; by all workers."""

    recipient_domains: Names = Field(description='`"*"` stands for each other domain by itself.')
    rate: Names = Field((), description="`20/s`, `100/min`, `5000/h`, `50000/d`, or several.")
    burst: int | None = Field(None, ge=1, description="How many may go at once.")
    connections: int | None = Field(None, ge=1, description="Transactions at a time.")


class RouteSettings(Section):
    """One route, ``[[routes]]``: which relays take what. The first that fits counts."""

    sender_domains: Names = ()
    recipient_domains: Names = ()
    tags: Names = ()
    relays: dict[str, Annotated[int, Field(ge=1)]] | Names
    backups: Names = ()


class RuleSettings(Section):
    """What a reply means, ``[[rules]]``; before the rules that are known. All criteria must fit."""

    name: str = Field(min_length=1, max_length=60)
    action: Literal["retry", "throttle", "too many", "refuse", "relay fault"]
    codes: Names = Field((), description="How the code may begin: `4`, `45` or `452`.")
    enhanced: Names = Field((), description="RFC 3463; `x` for any number: `x.7.1`.")
    phrase: str | None = Field(None, max_length=500, description="A regular expression.")
    phases: Names = Field((), description="Of `mail`, `rcpt`, `data`, `dot`; else all.")
    wait: Seconds | None = Field(None, description="The least for the next attempt.")


class RetryPolicySettings(Section):
    """A retry policy, ``[retry_policies.NAME]``; what it leaves out is as for all emails."""

    delays: tuple[float, ...] | None = None
    jitter: float | None = None
    give_up_after: float | None = None
    max_attempts: int | None = None
