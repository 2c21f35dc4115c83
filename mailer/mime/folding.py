"""Folding: one field over several lines (RFC 5322, 2.2.3)."""

import re

# RFC 5322 asks for 78 where possible, RFC 2047, 2 for 76 on lines with encoded words
FOLD_AT = 76
# RFC 5322, 2.1.1; without the CRLF
MAX_LINE = 998

_TOKEN = re.compile(r" +[^ ]*|[^ ]+")


def split(value: str) -> list[str]:
    """Cut a value before each run of spaces: nothing is lost, and no line will be blank."""
    return _TOKEN.findall(value)


def fold(name: str, tokens: list[str]) -> str:
    """Write a field, and break its lines between tokens where they would grow too long.

    The first token stays on the name's line: software that looks for ``Message-ID: <`` is
    surprised otherwise. A token that is longer than a line has it to itself.

    Args:
        name: the field's name.
        tokens: the body, in pieces. All but the first begin with a space.
    """
    if not tokens:
        return f"{name}:\r\n"
    whole = f"{name}: {''.join(tokens)}\r\n"
    if len(whole) <= FOLD_AT + len("\r\n") or len(tokens) == 1:
        return whole
    pieces = [f"{name}: {tokens[0]}"]
    length = len(pieces[0])
    for token in tokens[1:]:
        length += len(token)
        if length > FOLD_AT:
            pieces.append("\r\n")
            length = len(token)
        pieces.append(token)
    pieces.append("\r\n")
    return "".join(pieces)
