"""What a server offers, and what of it one session has shown to work."""

from collections.abc import Iterable, Mapping


class Offers:
    """The extensions of one session, of which some turn out not to work as offered.

    Attributes:
        extensions: that are made use of, with their parameters; another mapping after each change.
        unfit: those that turned out not to work.
        chunks_at_once: the server takes a message together with the commands before it.
        takes_chunks: that was shown, and not only offered.
        takes_runs: it was shown that the server takes several messages at once.
        reads_on: whether the server reads on behind the final dot of DATA; None where nobody knows.
        misled: the server does not know what it offered, and has nothing of the message.
    """

    def __init__(self, extensions: Mapping[str, str], *, lmtp: bool) -> None:
        self.extensions: Mapping[str, str] = dict(extensions)
        self.unfit: set[str] = set()
        self.takes_chunks = self.takes_runs = self.misled = False
        self.reads_on: bool | None = None
        self._lmtp = lmtp
        self.leave_out(())

    def leave_out(self, extensions: Iterable[str]) -> None:
        """Make no use of some extensions from now on."""
        left_out = set(extensions)
        left = {name: said for name, said in self.extensions.items() if name not in left_out}
        self.extensions = left
        self.chunks_at_once = not self._lmtp and {"chunking", "pipelining"} <= left.keys()

    def give_up(self, *extensions: str) -> None:
        """Likewise, for they do not work."""
        self.unfit.update(extensions)
        self.leave_out(extensions)
