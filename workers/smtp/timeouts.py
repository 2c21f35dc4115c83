"""How long to wait for a server."""

import attrs


@attrs.frozen
class Timeouts:
    """Seconds to wait in a transaction (RFC 5321, section 4.5.3.2).

    Attributes:
        command: for the replies to MAIL and RCPT.
        data: for the reply to DATA.
        block: for the server to take what was written.
        final: for the reply to the whole message.
    """

    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
