"""A daemon that sends mail, the box that it sends to, and what its recipients do with links."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import httpx
import trio
from attrs import evolve, frozen
from pydantic import SecretStr

from cueapi.settings import Settings
from tests.api.signing_in import begin, path_of, press, submit
from tests.conftest import Api, RunningDaemon, running
from tests.net.mail_server import Box, mail_server

KEY = re.compile(r"cue_sk_[0-9a-f]{32}")


@frozen
class Mailing:
    """A daemon that sends mail, and the box."""

    daemon: RunningDaemon
    box: Box

    async def mail_to(self, address: str, subject: str, words: str = "") -> EmailMessage:
        """The newest mail to *address* with *subject* and, in its text, *words*, as soon as it is there."""
        with trio.fail_after(20):
            while True:
                for mail in reversed(self.box.mails):
                    if mail["To"] == address and subject in mail["Subject"] and words in mail.get_content():
                        return mail
                await trio.sleep(0.01)

    async def link_to(self, address: str, subject: str = "Confirm your address", words: str = "") -> str:
        """The path of the link in that mail."""
        mail = await self.mail_to(address, subject, words)
        return path_of(next(line for line in mail.get_content().splitlines() if line.startswith("http")))

    async def press(self, link: str) -> httpx.Response:
        """Open *link* and press the button of its page."""
        page = await self.daemon.client.get(link)
        return await press(self.daemon, page) if page.status_code == 200 else page

    async def join(self, email: str) -> Api:
        """A user whose address is verified; the box is as it was."""
        before = len(self.box.mails)
        await self.daemon.api.register(email)
        page = await self.press(await self.link_to(email))
        del self.box.mails[before:]
        return evolve(self.daemon.api, key=KEY.findall(page.text)[0])

    async def sign_in_link(self, email: str, code: str = "ABCD-EFGH") -> str:
        """The path of a sign-in link that went to *email*."""
        await begin(self.daemon.api, code)
        await submit(self.daemon.api, code, email)
        return await self.link_to(email, "Sign in", code)


def with_mail(settings: Settings, box: Box) -> Settings:
    """Settings of a daemon that sends its mail to *box*."""
    url = SecretStr(f"smtp://127.0.0.1:{box.port}")
    return settings.model_copy(update={"smtp_url": url, "email_from": "cueapi@example.com"})


@asynccontextmanager
async def mailing(settings: Settings) -> AsyncIterator[Mailing]:
    """Such a daemon for the length of the block."""
    with mail_server() as box:
        async with running(with_mail(settings, box)) as daemon:
            yield Mailing(daemon, box)
