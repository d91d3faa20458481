"""Mail by smtplib in a worker thread. Knows the mail server, knows nothing of what mails are about."""

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

import trio
from attrs import field, frozen

from cueapi.net.shortage import OwnShortage, shortage_in, shortage_now

THREADS = 4
"""Concurrent mails."""

PATIENCE = 10.0
"""Seconds for each step of the conversation."""


class MailFailed(Exception):
    """The mail was not sent; the message says why, and holds neither password nor address."""


@frozen
class Mail:
    """A plain-text mail. *key* is the same on every attempt, so that a duplicate can be told from a new mail."""

    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    key: str
    date: datetime


@frozen
class Mailer:
    """Sends mail from *sender* through the server at *url* (`smtp://user:pass@host:587?starttls=true`, `smtps://…`)."""

    url: str = field(repr=False)
    sender: str
    _threads: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(THREADS))

    async def send(self, mail: Mail) -> None:
        """Hand *mail* to the server. Raises MailFailed, and OwnShortage."""
        await self._in_thread(lambda: self._send(mail))

    async def greet(self) -> None:
        """Raises MailFailed if the server does not answer, or refuses the login; and OwnShortage."""
        await self._in_thread(self._greet)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        except smtplib.SMTPResponseException as error:
            raise MailFailed(f"the server answered {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException, ValueError, RuntimeError) as error:
            if (reason := shortage_in(error) or shortage_now()) is not None:
                raise OwnShortage(reason) from error
            if isinstance(error, RuntimeError):
                raise
            raise MailFailed(type(error).__name__) from error

    def _greet(self) -> None:
        with _opened(self.url) as client:
            client.noop()

    def _send(self, mail: Mail) -> None:
        sender, recipient = read_sender(self.sender), _parts("", mail.to)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipient, " ".join(mail.subject.split())
        message["Date"] = format_datetime(mail.date, usegmt=True)
        message["Message-ID"] = f"<{mail.key}@{sender.domain}>"
        # RFC 3834: asks machines not to answer.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        with _opened(self.url) as client:
            # To exactly one, and not to what a header says once it is read again (encoded words, lists).
            client.send_message(message, sender.addr_spec, [recipient.addr_spec])
            # The mail is accepted whatever the server says to QUIT; an error there would have it sent twice.
            with suppress(smtplib.SMTPException, OSError):
                client.quit()


def read_sender(text: str) -> Address:
    """The address in `Name <address>`, or of a bare one. Raises ValueError where no mail can bear it."""
    return _parts(*parseaddr(text))


def _parts(name: str, address: str) -> Address:
    """An address from its parts (RFC 5322, 3.4.1): a local part that needs it is quoted. Raises ValueError."""
    local, at, domain = address.rpartition("@")
    # An encoded word (RFC 2047) is no part of an address, but there are servers that decode it.
    if not at or not local or "=?" in address or not re.fullmatch(r"[\w.-]+|\[[\w.:]+\]", domain):
        raise ValueError("no address")
    return Address(name, local, domain)


@contextmanager
def _opened(url: str) -> Iterator[smtplib.SMTP]:
    """A session with the server, ready to send mail."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    secure = parts.scheme == "smtps"
    context = ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(host, parts.port or 465, timeout=PATIENCE, context=context)
        if secure
        else smtplib.SMTP(host, parts.port or 587, timeout=PATIENCE)
    ) as client:
        if parse_qs(parts.query).get("starttls") == ["true"]:
            client.starttls(context=context)
        if parts.username:
            client.login(unquote(parts.username), unquote(parts.password or ""))
        yield client
