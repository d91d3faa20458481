"""Links that sign a browser in: sent by mail, or printed for the operator; the dashboard has their page."""

import secrets
import sys

from attrs import frozen

from cueapi.api.linked_accounts import LinkedAccounts
from cueapi.api.mails import Mails
from cueapi.domain.account import SignedIn, checked_email
from cueapi.domain.errors import Refusal
from cueapi.storage import addresses, sign_in_links
from cueapi.storage.database import Database, Executor
from cueapi.storage.sign_in import digest
from cueapi.storage.sign_in_links import SignInLink


@frozen
class SignInLinks:
    """Sends such links, and says whom one signs in."""

    database: Database
    mails: Mails
    accounts: LinkedAccounts
    base_url: str

    @property
    def can_be_sent(self) -> bool:
        """Whether a link can be asked for: mail leaves, or the link is printed, as in development."""
        return self.mails.leave or not self.mails.forbidden

    async def send(self, text: str) -> str:
        """
        Send a link to the address *text*, where that may sign in; the caller cannot tell whether it may.

        It goes to the address as the account has it. Returns the address as it was typed. Refuses what is none, and
        links beyond the limits.
        """
        if not self.can_be_sent:
            raise Refusal("email_not_configured", "This server sends no mail; the operator must set SMTP_URL.")
        email = checked_email(text)
        user = await addresses.by_email(self.database, email)
        await self.mails.count_link(email, known=user is not None)
        if user.revoked if user is not None else not self.accounts.open:
            return email
        owner, address = (None, email) if user is None else (user.id, user.email)
        async with self.database.transaction() as db:
            link = await new_link(db, self.base_url, address, by_mail=True)
            if self.mails.leave:
                await self.mails.add_link(db, "sign_in_mail", user=owner, email=address, link=link)
        if self.mails.leave:
            self.mails.ready()
        else:
            print(f"Magic link for {address}: {link}", file=sys.stderr, flush=True)
        return email

    async def show(self, token: str) -> SignInLink | None:
        """What a link is for; None where it serves no more."""
        return await sign_in_links.show(self.database, digest(token))

    async def take(self, db: Executor, token: str, entered: str) -> SignedIn | None:
        """
        Who signs in by a link, which works once; None where it does not work.

        *entered* is the address that a link for the first account asks for. Raises Invalid where it is no address.
        """
        link = await sign_in_links.take(db, digest(token))
        if link is None:
            return None
        if link.email is None:
            return await self.accounts.by_operator(db, checked_email(entered), first=True) if link.first else None
        if link.by_mail:
            return await self.accounts.by_mail(db, link.email)
        return await self.accounts.by_operator(db, link.email, first=link.first)


async def new_link(db: Executor, base_url: str, email: str | None, *, by_mail: bool = False) -> str:
    """A new link for *email*; None: for the first account, whose address its user enters."""
    token = secrets.token_urlsafe(32)
    await sign_in_links.add(db, token_hash=digest(token), email=email, by_mail=by_mail)
    return f"{base_url}/ui/enter/{token}"
