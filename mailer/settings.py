"""Every setting, with its default; the environment wins over ``mailer.toml``."""

import os
import socket
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from mailer.job import JobState
from mailer.retry import RetryPolicy
from mailer.sections import (
    TEN_YEARS,
    DkimKeySettings,
    LimitSettings,
    RelaySettings,
    RetryPolicySettings,
    RouteSettings,
    RuleSettings,
    Seconds,
)


def _split_on(separator: str) -> BeforeValidator:
    """Accept a list, or one string with the parts of it."""

    def split(value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(separator) if part.strip()]
        return value

    return BeforeValidator(split)


CONFIG_VARIABLE = "MAILER_CONFIG"


class Settings(BaseSettings):
    """Read from ``MAILER_*`` variables, else from ``mailer.toml``, else the defaults below."""

    model_config = SettingsConfigDict(
        env_prefix="MAILER_",
        toml_file=os.environ.get(CONFIG_VARIABLE, "mailer.toml"),
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # it may be a password
    )

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Where jobs are kept."
    )
    broker_url: SecretStr | None = Field(
        None, description="Celery's broker; without it, the Redis of `MAILER_REDIS_URL`."
    )
    relay_url: SecretStr = Field(
        SecretStr("smtp://127.0.0.1:25"),
        description="The relay: `smtp://user:password@host:587?starttls=required`, or `smtps://…`.",
    )
    key_prefix: str = Field(
        "mailer",
        pattern=r"^[A-Za-z0-9_.-]+$",  # a brace would divide the keys among Cluster slots
        description="Begins every key in Redis; two systems with different prefixes don't meet.",
    )
    store_timeout_seconds: Seconds = Field(
        5.0, description="After this time without an answer from Redis: `StoreUnavailable`."
    )
    batch_size: int = Field(
        100, ge=1, le=1000, description="The most job ids in one Celery message."
    )
    connections: int = Field(
        20,
        ge=1,
        le=1000,
        description="The most SMTP connections of one worker process, but for late answers.",
    )
    late_connections: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="How many more may be open while messages wait for late answers; "
        "0: none. Without it, ten times `MAILER_CONNECTIONS`.",
    )
    lease_seconds: Seconds = Field(
        60.0,
        description="A worker that dies gives its jobs free after this time; "
        "renewed while a transaction runs.",
    )
    dispatch_timeout_seconds: Seconds = Field(
        60.0, description="A job that was dispatched and not begun is dispatched again after it."
    )
    shutdown_seconds: Seconds = Field(
        30.0, description="How long a stopping worker lets running transactions end."
    )
    retry_delays: Annotated[tuple[float, ...], NoDecode, _split_on(",")] = Field(
        RetryPolicy().delays, description="Seconds between attempts; the last one repeats."
    )
    retry_jitter: float = Field(
        RetryPolicy().jitter, description="The largest random share added to each delay."
    )
    retry_give_up_seconds: Seconds = Field(
        RetryPolicy().give_up_after, description="A deferral after this time is final."
    )
    retry_policies: dict[str, RetryPolicySettings] = Field(
        {},
        description='Policies by name, for `Email(retry="NAME")`; best kept in `mailer.toml`.',
    )
    suppress_unknown_users: bool = Field(
        False,
        description="Put recipients whom the relay refuses as unknown (5.1.1) on the "
        "suppression list.",
    )
    attachment_roots: Annotated[tuple[Path, ...], NoDecode, _split_on(os.pathsep)] = Field(
        (),
        description="Folders from which `Attachment.from_path` may take files; separated by `:`.",
    )
    attachment_hosts: Annotated[tuple[str, ...], NoDecode, _split_on(",")] = Field(
        (),
        description="Hosts from which workers may fetch `Attachment.from_url`, by https; `host` "
        "or `host:port`, separated by commas.",
    )
    attachment_private_hosts: Annotated[tuple[str, ...], NoDecode, _split_on(",")] = Field(
        (), description="Those of these hosts that may have private addresses; others may not."
    )
    attachment_uris: Annotated[tuple[str, ...], NoDecode, _split_on(",")] = Field(
        (),
        description="What `Attachment.from_uri` may begin with, such as `s3://invoices/`; "
        "separated by commas.",
    )
    attachment_fetch_seconds: Seconds = Field(
        60.0, description="How long fetching one attachment from a host or URI may take."
    )
    max_attachment_bytes: int = Field(
        25 * 1024 * 1024, ge=1, description="The most bytes of all attachments of one email."
    )
    max_text_bytes: int = Field(
        5 * 1024 * 1024, ge=1, description="The most bytes of text, HTML, AMP and invitation."
    )
    max_recipients: int = Field(
        1000, ge=1, description="The most recipients of one email, To, Cc and Bcc together."
    )
    idempotency_seconds: int = Field(
        24 * 3600, ge=1, le=TEN_YEARS, description="How long an idempotency key is remembered."
    )
    durable: bool = Field(
        False,
        description="Enqueueing returns only once the email is on Redis's disk (WAITAOF), or on "
        "replicas.",
    )
    durable_replicas: int = Field(
        0,
        ge=0,
        description="What is durable: on so many replicas (WAIT), where not 0, instead of on disk.",
    )
    max_backlog: int = Field(
        0,
        ge=0,
        description="The most emails that may wait; beyond it, `QueueFull`. 0: any number.",
    )
    max_memory_share: float = Field(
        0.8,
        ge=0,
        le=1,
        description="The largest share of its memory (`maxmemory`, or the machine's) that Redis "
        "may use before `QueueFull`: workers need the rest. 0: any.",
    )
    retention_seconds: int = Field(
        7 * 24 * 3600, ge=1, le=TEN_YEARS, description="How long an ended job's record is kept."
    )
    events: Annotated[tuple[JobState, ...] | None, NoDecode, _split_on(",")] = Field(
        None,
        description="States of which events are recorded, such as `sent,failed`. Workers that are "
        "started with it have all processes do so; where it is set, and empty, none.",
    )
    events_kept: int = Field(
        100_000, ge=1, description="The most events that are kept; the oldest go."
    )
    hooks: Annotated[tuple[str, ...], NoDecode, _split_on(",")] = Field(
        (),
        description="Modules with functions `pre_enqueue` or `pre_send`, such as "
        "`myapp.mail_hooks`; separated by commas.",
    )
    ehlo_hostname: str = Field(
        default_factory=socket.gethostname, description="What workers call themselves in EHLO."
    )
    smtp_connect_seconds: Seconds = Field(
        300.0, description="For connecting, the greeting, EHLO, TLS and AUTH together."
    )
    smtp_command_seconds: Seconds = Field(
        300.0, description="For the replies to MAIL and RCPT (RFC 5321, 4.5.3.2)."
    )
    smtp_data_seconds: Seconds = Field(120.0, description="For the reply to DATA.")
    smtp_block_seconds: Seconds = Field(
        180.0, description="For the server to take a piece of a message."
    )
    smtp_final_seconds: Seconds = Field(
        600.0, description="For the reply after the final dot; a shorter one makes duplicates."
    )
    smtp_idle_seconds: Seconds = Field(
        30.0, description="An unused SMTP connection is closed after this time."
    )
    relays: dict[str, RelaySettings] = Field(
        {},
        description="Several relays, instead of `MAILER_RELAY_URL`; best kept in `mailer.toml`.",
    )
    routes: tuple[RouteSettings, ...] = Field(
        (), description="Which relays take which emails; without any, the first, then the next."
    )
    limits: dict[str, LimitSettings] = Field(
        {}, description="How much may be sent to some domains; best kept in `mailer.toml`."
    )
    rules: tuple[RuleSettings, ...] = Field(
        (), description="What replies mean, where that is not as docs/delivery.md has it."
    )
    dkim: dict[str, tuple[DkimKeySettings, ...]] = Field(
        {},
        description="Keys by sender domain, for DKIM: `selector` and `key_file` of each; best kept "
        "in `mailer.toml`.",
    )
    templates: Path = Field(Path("emails"), description="The folder of email templates.")
    sandbox: bool = Field(
        False,
        description="For try-outs and staging: workers send to nobody but whom the next two "
        "allow, and simulate recipients such as `bounce@simulator.test`; see docs/sandbox.md.",
    )
    allow_domains: Annotated[tuple[str, ...], NoDecode, _split_on(",")] = Field(
        (),
        description="In sandbox mode: recipient domains that are sent to as usual, such as "
        "`example.com,*.example.com`.",
    )
    redirect_to: str | None = Field(
        None, description="In sandbox mode: the address to which all other email goes instead."
    )
    log_level: str = Field(
        "INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="What workers log."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def broker(self) -> SecretStr:
        """Celery's broker URL."""
        return self.broker_url or self.redis_url

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy of every email that names no other."""
        return RetryPolicy(
            delays=self.retry_delays,
            jitter=self.retry_jitter,
            give_up_after=self.retry_give_up_seconds,
        )

    def named_policy(self, name: str) -> RetryPolicy:
        """Read one of ``retry_policies``; what it leaves out is as in `retry_policy`.

        Raises:
            KeyError: there is none of that name.
        """
        given = self.retry_policies[name].model_dump(exclude_none=True)
        return msgspec.structs.replace(self.retry_policy, **given)
