"""The commands of one client of the SMTP server (RFC 5321; LMTP, RFC 2033; CHUNKING, RFC 3030)."""

import base64
import re
import time
from collections import deque
from collections.abc import Callable, Sequence

from mailer.testing.faults import Action
from mailer.testing.smtp_auth import MECHANISMS, Conversation, Malformed, decoded
from mailer.testing.smtp_connection import Connection
from mailer.testing.smtp_state import Received, State

_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>\s*(.*)", re.IGNORECASE)
_BDAT = re.compile(r"(\d{1,12})( LAST)?", re.IGNORECASE)
# by which extension a parameter of MAIL or RCPT becomes known
_PARAMETERS = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "AUTH": "AUTH",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}
# nothing may be sent along after these (RFC 2920, 3.1; RFC 3207, 4.2)
_LAST_OF_GROUP = frozenset({"EHLO", "LHLO", "HELO", "DATA", "STARTTLS", "AUTH", "QUIT"})


class Session(Connection):
    """What one client has said so far, and what follows from it."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._greeted = False
        self._name = self._user = ""
        self._conversation: Conversation | None = None
        self._transactions = 0
        self._unanswered: deque[Received] = deque()
        self._offered = frozenset(name.split()[0].upper() for name in state.options.extensions)
        self._end()

    def greet(self) -> None:
        """Say 220."""
        kind = "LMTP" if self.state.options.lmtp else "ESMTP"
        self.answer("connect", f"220 mailer.testing {kind}")

    def forget(self) -> None:
        """Know nothing of the client any more."""
        self._greeted = False
        self._name = self._user = ""
        self._end()

    def _end(self) -> None:
        """End the transaction."""
        self._sender: str | None = None
        self._parameters: tuple[str, ...] = ()
        self._recipients: dict[str, tuple[str, ...]] = {}
        self._chunks: list[bytes] | None = None
        self._chunk_is_last = False

    def line(self, line: bytes, *, more: bool) -> None:
        """Act on a command, or on an answer within AUTH."""
        if self._conversation:
            self._answer_of_client(line)
            return
        verb, _, rest = line.decode("utf-8", "replace").partition(" ")
        verb = verb.upper()
        if self.state.commands is not None:
            self.state.commands.append(verb)
        if more and (verb in _LAST_OF_GROUP or "PIPELINING" not in self._offered):
            self.state.breaches.append(f"did not wait for the reply to {verb}")
        handler = _COMMANDS.get(verb)
        if handler is None or not self._knows(verb):
            self.say("500 5.5.2 Unknown command")
        else:
            handler(self, rest.strip())

    def _knows(self, verb: str) -> bool:
        if verb in {"EHLO", "HELO", "LHLO"}:
            return (verb == "LHLO") is self.state.options.lmtp
        return verb != "BDAT" or "CHUNKING" in self._offered

    # who it is

    def _ehlo(self, client: str) -> None:
        self._name = client
        lines = ["mailer.testing", *self.state.options.extensions]
        if self.state.options.starttls and not self.secure:
            lines.append("STARTTLS")
        if self._takes_passwords:
            lines.append("AUTH " + " ".join(self.state.options.mechanisms))
        replies = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
        self._end()
        self._greeted = True
        self.answer("ehlo", "\r\n".join(replies), ["EHLO"])

    def _helo(self, client: str) -> None:
        self._name = client
        self._greeted = True
        self.answer("ehlo", "250 mailer.testing", ["HELO"])

    @property
    def _takes_passwords(self) -> bool:
        """Never in the clear where TLS can be had."""
        options = self.state.options
        return bool(options.users) and (self.secure or not options.starttls)

    def _starttls(self, _: str) -> None:
        context = self.state.options.starttls
        if not context or self.secure:
            self.say("502 5.5.1 Not offered")
        else:
            fault = self.state.fault("starttls", ())
            if fault and fault.action is not Action.ADD:
                self.fail(fault, "220 2.0.0 Go ahead")
                return
            self.say("220 2.0.0 Go ahead")
            if fault:
                self.say(fault.reply)
            self.start_tls(context)

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        options = self.state.options
        if not self._takes_passwords:
            self.say("538 5.7.11 Encryption required" if options.users else "502 5.5.1 Not offered")
        elif mechanism.upper() not in options.mechanisms:
            self.say("504 5.5.4 Unknown mechanism")
        else:
            self._conversation = MECHANISMS[mechanism.upper()](options.users)
            challenge = next(self._conversation)
            if initial:
                self._answer_of_client(initial.encode())
            else:
                self._challenge(challenge)

    def _challenge(self, challenge: bytes) -> None:
        self.say(f"334 {base64.b64encode(challenge).decode()}")

    def _answer_of_client(self, line: bytes) -> None:
        conversation, self._conversation = self._conversation, None
        assert conversation is not None  # noqa: S101 - who calls has seen to it
        try:
            challenge = conversation.send(decoded(line))
        except StopIteration as end:
            self._user = end.value or ""
            right = bool(end.value)
            said = "235 2.7.0 Welcome" if right else "535 5.7.8 Wrong user or password"
            self.answer("auth", said)
        except Malformed:
            self.say("501 5.5.2 Malformed")
        else:
            self._conversation = conversation
            self._challenge(challenge)

    # transactions

    def _mail(self, rest: str) -> None:
        match, options = _PATH.fullmatch(rest), self.state.options
        if not self._greeted or self._sender is not None:
            self.say("503 5.5.1 Not now")
        elif options.users and not self._user:
            self.say("530 5.7.0 Authentication required")
        elif not match:
            self.say("501 5.5.4 MAIL FROM:<address>")
        elif self._transactions == options.max_messages:
            self.say("421 4.7.0 Enough messages on this connection")
            self.hang_up()
        elif refusal := self._wrong(match[2]):
            self.say(refusal)
        else:
            sender, parameters = match[1], tuple(match[2].split())

            def begin() -> None:
                self._sender, self._parameters = sender, parameters
                self._transactions += 1
                self.turns = 0

            self.answer("mail", "250 2.1.0 OK", [sender], begin)

    def _wrong(self, parameters: str) -> str | None:
        for parameter in parameters.split():
            name, _, value = parameter.partition("=")
            if _PARAMETERS.get(name.upper()) not in self._offered:
                return f"555 5.5.4 {name} was not offered"
            if name.upper() == "SIZE" and value.isdecimal() and self._is_too_large(int(value)):
                return "552 5.3.4 Message too large"
        return None

    def _is_too_large(self, size: int) -> bool:
        """Compare with the limit that is announced as ``SIZE n``."""
        limits = (name.split() for name in self.state.options.extensions)
        limit = next((words[1] for words in limits if words[0] == "SIZE" and words[1:]), None)
        return limit is not None and 0 < int(limit) < size

    def _rcpt(self, rest: str) -> None:
        match = _PATH.fullmatch(rest)
        if self._sender is None:
            self.say("503 5.5.1 MAIL first")
        elif not match:
            self.say("501 5.5.4 RCPT TO:<address>")
        elif refusal := self._wrong(match[2]):
            self.say(refusal)
        else:
            recipient, parameters = match[1], tuple(match[2].split())

            def add() -> None:
                self._recipients[recipient] = parameters

            self.answer("rcpt", "250 2.1.5 OK", [recipient], add)

    def _data(self, _: str) -> None:
        if not self._recipients or self._chunks is not None:
            self.say("503 5.5.1 RCPT first")
        else:
            recipients = list(self._recipients)
            self.answer("data", "354 Go ahead", recipients, self.expect_message)

    def _bdat(self, rest: str) -> None:
        match = _BDAT.fullmatch(rest)
        if match is None:
            self.say("501 5.5.4 BDAT size [LAST]")
            self.hang_up()  # nobody knows how much of what follows is no command
        elif fault := self.state.fault("bdat", list(self._recipients)):
            self.fail(fault, "250 2.0.0 OK")  # it reads the octets as commands
        else:
            self._chunk_is_last = bool(match[2])
            self.expect_octets(int(match[1]))

    def chunk(self, octets: bytes) -> None:
        """Take a part of a message; what can't be accepted is swallowed all the same."""
        if self._sender is None or not self._recipients:
            self.say("503 5.5.1 RCPT first")
            return
        self._chunks = [*(self._chunks or ()), octets]
        if self._chunk_is_last:
            self._complete(b"".join(self._chunks))
        else:
            self.say(f"250 2.0.0 {len(octets)} octets")

    def message(self, stuffed: bytes) -> None:
        """Take a message; the first dot of a line that begins with one goes (RFC 5321, 4.5.2)."""
        self._complete((b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:])

    def _complete(self, data: bytes) -> None:
        if self._is_too_large(len(data)):
            self._end()
            self.say("552 5.3.4 Message too large")
            return
        everybody = [*self._recipients]
        deliveries = [[one] for one in everybody] if self.state.options.lmtp else [everybody]
        self._unanswered.extend(self._received(data, recipients) for recipients in deliveries)
        self._end()
        self.next_reply()

    def next_reply(self) -> bool:
        """Answer one message, or with LMTP one of its recipients."""
        if not self._unanswered:
            return False
        message = self._unanswered.popleft()
        accept = lambda: self.state.accept(message)  # noqa: E731 - one line says it
        self.answer("dot", "250 2.0.0 Accepted", message.recipients, accept)
        return True

    def _received(self, data: bytes, recipients: Sequence[str]) -> Received:
        return Received(
            self._sender or "",
            tuple(recipients),
            data,
            self.number,
            time.monotonic(),
            parameters=self._parameters,
            recipient_parameters={name: self._recipients[name] for name in recipients},
            user=self._user,
            secure=self.secure,
            client=self._name,
            certificate=self.certificate,
            turns=self.turns + 1,  # with the reply to it
        )

    def _rset(self, _: str) -> None:
        self._end()
        self.answer("rset", "250 2.0.0 OK")

    def _noop(self, _: str) -> None:
        self.say("250 2.0.0 OK")

    def _vrfy(self, _: str) -> None:
        self.say("252 2.5.2 Perhaps")

    def _quit(self, _: str) -> None:
        self.say("221 2.0.0 Bye")
        self.hang_up()


_COMMANDS: dict[str, Callable[[Session, str], None]] = {
    "EHLO": Session._ehlo,
    "LHLO": Session._ehlo,
    "HELO": Session._helo,
    "STARTTLS": Session._starttls,
    "AUTH": Session._auth,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "BDAT": Session._bdat,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "QUIT": Session._quit,
}
