"""Mail through a real SMTP server, and the messages where it fails."""

import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import trio
import trustme
from attrs import evolve

from cueapi.net.shortage import OwnShortage
from cueapi.net.smtp import Mail, Mailer, MailFailed
from tests.net.mail_server import PASSWORD, mail_server
from tests.ports import free_port
from tests.scarcity import no_file_left, no_thread_left

MAIL = Mail(
    "you@example.com",
    "Naïve\r\nBcc: all@example.com",
    "Zoë’s report\n.\nfailed\n",
    "failure-7",
    datetime(2026, 3, 4, 12, 0, tzinfo=UTC),
)
SENDER = "CueAPI <cueapi@example.com>"


async def test_a_mail_arrives_as_it_was_written() -> None:
    with trio.fail_after(20), mail_server() as box:
        await Mailer(f"smtp://127.0.0.1:{box.port}", SENDER).send(MAIL)

    (mail,) = box.mails
    assert (mail["To"], mail["From"]) == ("you@example.com", SENDER)
    assert mail["Subject"] == "Naïve Bcc: all@example.com"
    assert mail["Bcc"] is None
    assert mail["Date"] == "Wed, 04 Mar 2026 12:00:00 +0000"
    assert mail["Message-ID"] == "<failure-7@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert box.texts() == [MAIL.text]


@pytest.mark.parametrize(
    ("to", "recipient"),
    [
        ("you@example.com", "you@example.com"),
        ("=?utf-8?q?victim?=@example.com", None),
        ("a@example.com, b@example.com", '"a@example.com, b"@example.com'),
        ("you <victim@example.com>", None),
        ("victim@example.com\r\nRCPT TO:<b@example.com>", None),
        ("a b@example.com", '"a b"@example.com'),
        ("you@example.com, other.example", None),
        ("you", None),
        ("", None),
        ("you@", None),
    ],
)
async def test_a_mail_goes_to_the_one_address_that_was_given_or_nowhere(to: str, recipient: str | None) -> None:
    with trio.fail_after(20), mail_server() as box:
        with suppress(MailFailed):
            await Mailer(f"smtp://127.0.0.1:{box.port}", SENDER).send(evolve(MAIL, to=to))

    assert box.recipients == ([] if recipient is None else [[recipient]])


async def test_a_mail_that_was_accepted_is_sent_whatever_the_server_says_to_quit() -> None:
    with trio.fail_after(20), mail_server() as box:
        box.farewell = "451 not now"
        await Mailer(f"smtp://127.0.0.1:{box.port}", SENDER).send(MAIL)

    assert len(box.mails) == 1


async def test_a_server_that_asks_for_a_password_is_given_it() -> None:
    with trio.fail_after(20), mail_server(password=True) as box:
        user, word = quote("me@example.com", safe=""), quote(PASSWORD, safe="")
        await Mailer(f"smtp://{user}:{word}@127.0.0.1:{box.port}", SENDER).send(MAIL)
        with pytest.raises(MailFailed, match="the server answered 535"):
            await Mailer(f"smtp://{user}:wrong@127.0.0.1:{box.port}", SENDER).send(MAIL)

    assert len(box.mails) == 1


async def test_no_mail_goes_to_a_server_whose_certificate_is_not_trusted() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    with trio.fail_after(20), mail_server(tls=tls) as box:
        with pytest.raises(MailFailed, match="SSLCertVerificationError"):
            await Mailer(f"smtp://127.0.0.1:{box.port}?starttls=true", SENDER).send(MAIL)
        with pytest.raises(MailFailed, match="the server answered 530"):
            await Mailer(f"smtp://127.0.0.1:{box.port}", SENDER).send(MAIL)

    assert box.mails == []


async def test_a_failure_is_one_line_without_password_or_address() -> None:
    with trio.fail_after(20), mail_server() as box:
        box.answer = "554 no, you@example.com is not known here"
        with pytest.raises(MailFailed) as refused:
            await Mailer(f"smtp://127.0.0.1:{box.port}", SENDER).send(MAIL)
    with pytest.raises(MailFailed) as gone:
        await Mailer(f"smtp://me:secret@127.0.0.1:{free_port()}", SENDER).greet()

    assert (str(refused.value), str(gone.value)) == ("the server answered 554", "ConnectionRefusedError")


@pytest.mark.parametrize("scarce", [no_file_left, no_thread_left])
async def test_a_mail_that_we_are_too_short_for_has_not_failed(
    scarce: Callable[[], AbstractContextManager[None]],
) -> None:
    with trio.fail_after(20), mail_server() as box:
        mailer = Mailer(f"smtp://localhost:{box.port}", SENDER)
        with scarce(), pytest.raises(OwnShortage):
            await mailer.send(MAIL)
        await mailer.send(MAIL)

    assert len(box.mails) == 1
