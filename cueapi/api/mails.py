"""Mails that requests have sent: they wait in the database, in the transaction of what they are about."""

from base64 import b64encode
from collections.abc import Callable

from attrs import frozen
from quart import g

from cueapi.api.http.rate_limits import HOUR, Windows
from cueapi.domain.account import folded
from cueapi.domain.confidential import Confidential
from cueapi.security.vault import Vault
from cueapi.storage import notifications
from cueapi.storage.database import Executor

LINKS_A_MAIL, LINKS_AN_ADDRESS = 3, 10
"""How many links an hour go to a mail box, and are asked for from a client's address."""


@frozen
class Mails:
    """
    Writes mails where they *leave*; where not, links are printed, unless that is *forbidden*.

    *ready* is called when a mail waits.
    """

    leave: bool
    forbidden: bool
    ready: Callable[[], None]
    vault: Vault
    windows: Windows

    async def count_link(self, email: str, *, known: bool) -> None:
        """
        Count a link that the request has sent to *email*; refuses what is one too many.

        Addresses that are *known* to have an account are counted by themselves: those that are made up push out none.
        """
        await self.windows.check("link-address", g.address, LINKS_AN_ADDRESS, HOUR)
        await self.windows.check("link-known" if known else "link-unknown", folded(email), LINKS_A_MAIL, HOUR)

    async def add_link(
        self, db: Executor, kind: str, *, user: int | None, email: str, link: str, **content: str
    ) -> None:
        """Have *link* sent to *email*; it stands readable in no row."""
        ciphertext = b64encode(self.vault.encrypt(link, Confidential.LINK, email)).decode()
        content |= {"to": email, "ciphertext": ciphertext}
        await notifications.add_mail(db, kind, user=user, content=content)

    async def tell(self, db: Executor, what: str, *, name: str | None = None) -> None:
        """Have the owner of the request's account told of a change, where the address is verified; *name* of a key."""
        if self.leave:
            await notifications.add_notice(db, user=g.account.id, what=what, origin=g.address, name=name)
