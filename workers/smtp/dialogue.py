"""What both ways to send a message share, by DATA and by BDAT."""

from collections.abc import Sequence

from workers.smtp.channel import Channel
from workers.smtp.replies import Reply, any_intermediate

RSET = b"RSET\r\n"


def tell_apart(
    channel: Channel, replies: Sequence[Reply], commands: int
) -> tuple[Reply | None, Sequence[Reply], Reply | None]:
    """Tell the replies to MAIL, to each RCPT and to what came behind them.

    Args:
        commands: MAIL and the RCPTs.
    """
    mail, recipients = (replies[0] if replies else None), replies[1:commands]
    rest = replies[commands] if len(replies) > commands else None
    if any_intermediate(replies[:commands]):
        channel.fail("the server's replies are out of step with the commands")
    return mail, recipients, rest


async def reset(channel: Channel, seconds: float) -> None:
    """Make the session ready for another transaction after a refusal."""
    if channel.failure is None:
        await channel.ask([RSET], seconds)
