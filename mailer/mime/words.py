"""Encoded words: other than ASCII text in a header (RFC 2047)."""

from binascii import b2a_base64

# RFC 2047, 5 (3): what may stand for itself even in a display name, the strictest place
_LITERAL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_LITERAL_OR_SPACE = _LITERAL + b" "
_Q = ["_" if b == 0x20 else chr(b) if b in _LITERAL else f"={b:02X}" for b in range(256)]

MAX_WORD = 75
_FRAME = len("=?utf-8?q??=")
# two B groups or one Q-encoded character of four bytes always fit, so that each word gets on
MIN_WORD = _FRAME + 12


def encoded_words(text: str, first: int = MAX_WORD) -> list[str]:
    """Encode ``text`` as words of at most 75 characters, none of which splits a character.

    White space between adjacent words means nothing (RFC 2047, 6.2): all of the text's own is
    within the words.

    Args:
        text: what the reader shall see.
        first: how long the first word may be, at least `MIN_WORD`.
    """
    raw = text.encode()
    escaped = len(raw.translate(None, _LITERAL_OR_SPACE))
    if len(raw) + 2 * escaped <= (len(raw) + 2) // 3 * 4:
        return _q_words(raw, first)
    return _b_words(raw, first)


def _q_words(raw: bytes, first: int) -> list[str]:
    encoded = "".join([_Q[byte] for byte in raw])
    pieces = cut(encoded, "=", MAX_WORD - _FRAME, first - _FRAME)
    return [f"=?utf-8?q?{piece}?=" for piece in pieces]


def _b_words(raw: bytes, first: int) -> list[str]:
    words = []
    start, room = 0, first
    while start < len(raw):
        end = start + (room - _FRAME) // 4 * 3
        while end < len(raw) and raw[end] & 0xC0 == 0x80:  # a UTF-8 continuation byte
            end -= 1
        encoded = b2a_base64(raw[start:end], newline=False)
        words.append(f"=?utf-8?b?{encoded.decode()}?=")
        start, room = end, MAX_WORD
    return words


def cut(encoded: str, escape: str, room: int, first: int) -> list[str]:
    """Cut UTF-8 whose bytes are escaped (``=C3`` or ``%C3``) between characters only.

    Args:
        encoded: the text; every byte above 127 in it is escaped.
        escape: the character that begins an escaped byte.
        room: the length of a piece, 12 or more.
        first: the length of the first piece, 12 or more.
    """
    pieces = []
    start, end = 0, first
    while end < len(encoded):
        if encoded[end - 1] == escape:
            end -= 1
        elif encoded[end - 2] == escape:
            end -= 2
        while encoded[end] == escape and encoded[end + 1] in "89AB":  # a continuation byte
            end -= 3
        pieces.append(encoded[start:end])
        start, end = end, end + room
    pieces.append(encoded[start:])
    return pieces
