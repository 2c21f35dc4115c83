"""The limits: what SMTP itself allows on this machine, without a queue behind it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve
from sinks import postfix_tool
from stage import Stage, Stuck, rate

from contenders.contender import Contender, Trial, Unavailable
from contenders.ours import OURS
from mailer import Mailer, load_settings

_BARE = Path(__file__).parents[1] / "bare.py"
_SESSIONS = 20  # as many as a worker has connections
_BYTES = 4096  # of a message's body
_STOP_SECONDS = 30.0


def _timed(stage: Stage, count: int, arguments: Sequence[str | Path], what: str) -> Trial:
    """Run a program that sends so many messages; they are counted by the sink, as all others."""
    with (stage.folder / "limit.log").open("ab") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)

        def messages() -> int:
            if process.poll():
                raise Stuck(f"{what} ended with {process.returncode}")
            return stage.sink.messages()

        try:
            delivered = rate(messages, count, what)
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
    return Trial(delivered)


def _smtp_source(stage: Stage, count: int) -> Trial:
    program = postfix_tool("smtp-source") or "smtp-source"
    arguments = [program, "-d", "-s", str(_SESSIONS), "-m", str(count), "-l", str(_BYTES)]
    return _timed(stage, count, [*arguments, f"127.0.0.1:{stage.sink.port}"], "smtp-source")


def _bare(stage: Stage, count: int) -> Trial:
    file = stage.folder / "message.eml"
    with Mailer(settings=load_settings(redis_url=stage.redis.url)) as mailer:
        file.write_bytes(mailer.preview(stage.message.email(0)))
    arguments = [sys.executable, _BARE, str(stage.sink.port), str(count), file]
    return _timed(stage, count, arguments, "bare SMTP")


def _postfix() -> Mapping[str, str]:
    for tool in ("smtp-source", "smtp-sink"):
        if postfix_tool(tool) is None:
            raise Unavailable(
                f"{tool} is not installed (Debian: apt install postfix), and left out"
            )
    command = [postfix_tool("postconf") or "postconf", "-d", "-h", "mail_version"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"postfix": told.stdout.strip()}


BARE = Contender(
    name="bare",
    label="bare pipelined SMTP, one process",
    kind="limit",
    play=_bare,
    note=f"{_SESSIONS} connections, the same message again and again",
)
SMTP_SOURCE = Contender(
    name="smtp_source",
    label="smtp-source",
    kind="limit",
    play=_smtp_source,
    note=f"{_SESSIONS} sessions, reused; {_BYTES:,} bytes",
    prepare=_postfix,
)
SMTP_SOURCE_ON_POSTFIX = evolve(
    SMTP_SOURCE,
    name="smtp_source_on_postfix",
    label="smtp-source, to smtp-sink",
    sink="postfix",
)
OURS_ON_POSTFIX = evolve(
    OURS,
    name="ours_on_postfix",
    label="this mailer, to smtp-sink",
    sink="postfix",
    prepare=_postfix,
)
