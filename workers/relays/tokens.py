"""Access tokens for XOAUTH2: from a command, a file or a Python function."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from mailer.errors import InvalidSetting
from mailer.sections import RelaySettings

_MOST = 16 * 1024  # characters of a token
_PATIENCE = 30.0  # seconds for a command or a function


class NoToken(Exception):
    """No access token could be had; the text never has any of it."""


@attrs.frozen
class Token:
    """Where the access token of a relay comes from; one of the three.

    Attributes:
        command: a program and its arguments, which prints the token.
        function: takes nothing and returns the token; it runs in a thread.
    """

    command: Sequence[str] = ()
    file: Path | None = None
    function: Callable[[], str] | None = None

    @classmethod
    def read(cls, table: RelaySettings, setting: str) -> "Token | None":
        """Take it from a relay's table, or None where that has none.

        Raises:
            InvalidSetting: there are two, or the function is not to be found.
        """
        given = [table.token_command, table.token_file, table.token_function]
        if not any(given):
            return None
        if sum(map(bool, given)) > 1:
            raise InvalidSetting(
                f"{setting}: has more than one of token_command, token_file and token_function"
            )
        function = table.token_function
        return cls(
            table.token_command,
            table.token_file,
            _imported(function, f"{setting}.token_function") if function else None,
        )

    async def fresh(self) -> str:
        """Get a token.

        Raises:
            NoToken: with the reason.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                if self.command:
                    token = await _printed(self.command)
                elif self.file:
                    token = await asyncio.to_thread(self.file.read_text)
                else:
                    assert self.function is not None  # noqa: S101 - `read` has seen to it
                    token = await asyncio.to_thread(self.function)
        except NoToken:
            raise
        except TimeoutError:
            raise NoToken(f"no access token within {_PATIENCE:g} s") from None
        except Exception as error:  # noqa: BLE001 - a user's function raises what it likes
            # its text might quote the token
            known = error.strerror if isinstance(error, OSError) else None
            raise NoToken(f"no access token: {known or type(error).__name__}") from None
        token = token.strip()
        if not 0 < len(token) <= _MOST or not token.isascii() or not token.isprintable():
            raise NoToken("what should be an access token is empty or none")
        return token


async def _printed(command: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        raise NoToken(f"the command for the access token ended with {process.returncode}")
    return output.decode()


def _imported(name: str, setting: str) -> Callable[[], str]:
    module, _, attribute = name.partition(":")
    try:
        function: Callable[[], str] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidSetting(f"{setting}: looks like package.module:function; {error}") from None
    if not callable(function):
        raise InvalidSetting(f"{setting}: {name} can't be called")
    return function
