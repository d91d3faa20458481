"""A real SMTP server on 127.0.0.1 that keeps the mails it receives; it can ask for a password, or refuse."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from attrs import define, field

from tests.ports import free_port

PASSWORD = "pa/ss word"


@define(eq=False)
class Box:
    """
    The mails received, and whom each was sent to; *answer* is the server's answer to each mail, *farewell* to QUIT.
    """

    mails: list[EmailMessage] = field(factory=list)
    recipients: list[list[str]] = field(factory=list)
    answer: str = "250 taken"
    farewell: str = "221 bye"
    port: int = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's)
        """Keep a mail, if it is accepted."""
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = message_from_bytes(content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.recipients.append(envelope.rcpt_tos)
        return self.answer

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 (likewise)
        """Answer to QUIT."""
        return self.farewell

    def texts(self) -> list[str]:
        """The texts of all mails, in order."""
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]


@contextmanager
def mail_server(*, tls: ssl.SSLContext | None = None, password: bool = False) -> Iterator[Box]:
    """A server for the length of the block, in a thread of its own."""
    box = Box()
    options: dict[str, Any] = {"authenticator": _authenticate} if password else {}
    if tls is not None:
        options |= {"tls_context": tls, "require_starttls": True}
    box.port = free_port()
    options |= {"auth_require_tls": tls is not None, "ready_timeout": 300.0}  # The machine may be slow.
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me@example.com", PASSWORD.encode())
    return AuthResult(success=known and mechanism in {"LOGIN", "PLAIN"}, handled=False)
