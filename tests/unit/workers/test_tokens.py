"""Access tokens from a command, a file or a function; never any of them in an error."""

import asyncio
import sys
from pathlib import Path

import pytest

from mailer.errors import InvalidSetting
from mailer.sections import RelaySettings
from workers.relays.tokens import NoToken, Token

SECRET = "ya29.s3cr3t"


def read(**fields):
    return Token.read(RelaySettings(url="smtp://user@mx.example.com", **fields), "relays.main")


async def test_without_any_there_is_none():
    assert read() is None


async def test_a_command_prints_it():
    token = read(token_command=[sys.executable, "-c", f"print('{SECRET}')"])
    assert await token.fresh() == SECRET


async def test_a_file_has_it_and_is_read_each_time(tmp_path):
    file = tmp_path / "token"
    token = read(token_file=file)
    for content in (SECRET, f"{SECRET}2\n"):
        file.write_text(content)
        assert await token.fresh() == content.strip()


async def test_a_function_returns_it(tmp_path, monkeypatch):
    (tmp_path / "tokens_for_test.py").write_text(f"def token():\n    return '{SECRET}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert await read(token_function="tokens_for_test:token").fresh() == SECRET


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (f"import sys; print('{SECRET}'); sys.exit(3)", "ended with 3"),
        ("pass", "empty"),
        (f"print('{SECRET}', '{SECRET}', sep=chr(10))", "none"),
        (f"print('{SECRET}' * 5000)", "none"),
        ("print('tökén')", "none"),
        (f"import sys; sys.stdout.buffer.write(bytes([255]) + b'{SECRET}')", "UnicodeDecodeError"),
    ],
    ids=["fails", "empty", "two lines", "too long", "not ASCII", "not UTF-8"],
)
async def test_what_is_no_token_is_not_used_and_not_repeated(program, why):
    with pytest.raises(NoToken, match=why) as caught:
        await read(token_command=[sys.executable, "-c", program]).fresh()
    assert SECRET not in f"{caught.value!r}"


async def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(NoToken, match="No such file"):
        await read(token_file=tmp_path / "token").fresh()


async def test_a_function_that_fails_keeps_its_words_to_itself(tmp_path, monkeypatch):
    code = f"def token():\n    raise RuntimeError('{SECRET}')\n"
    (tmp_path / "failing_tokens_for_test.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NoToken, match="RuntimeError") as caught:
        await read(token_function="failing_tokens_for_test:token").fresh()
    assert SECRET not in f"{caught.value!r}"


async def test_a_command_that_does_not_end_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr("workers.relays.tokens._PATIENCE", 0.3)
    started = tmp_path / "started"
    program = (
        "import os, pathlib, time; "
        f"pathlib.Path({str(started)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    with pytest.raises(NoToken, match=r"within 0\.3 s"):
        await read(token_command=[sys.executable, "-c", program]).fresh()
    if started.exists():
        async with asyncio.timeout(5):
            while _runs(int(started.read_text())):
                await asyncio.sleep(0.01)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"token_command": ["true"], "token_file": "x"}, "relays.main"),
        ({"token_function": "nosuch_module:token"}, "relays.main.token_function"),
        ({"token_function": "os:nosuch"}, "relays.main.token_function"),
        ({"token_function": "os"}, "relays.main.token_function"),
        ({"token_function": "os:sep"}, "relays.main.token_function"),
    ],
    ids=["two", "no module", "no function", "no name", "not callable"],
)
def test_what_can_not_work_is_refused_at_once(fields, named):
    with pytest.raises(InvalidSetting) as caught:
        read(**fields)
    assert str(caught.value).startswith(named)
