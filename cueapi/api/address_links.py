"""Links in mails that show whose mail box it is, and their page."""

import secrets
from collections.abc import Callable

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.api_keys import replace_key
from cueapi.api.http.acting import act_by_mail
from cueapi.api.http.body import read_form
from cueapi.api.http.operations import for_browsers
from cueapi.api.http.parameters import Text
from cueapi.api.mails import Mails
from cueapi.api.pages import Pages
from cueapi.domain.account import folded
from cueapi.domain.errors import Refusal
from cueapi.security.vault import Vault
from cueapi.storage import address_links, addresses, notifications
from cueapi.storage.address_links import ConfirmedAddress
from cueapi.storage.database import Database, Duplicate, Executor
from cueapi.storage.sign_in import digest

TOKEN = Text("token", "The token of the link.")


@frozen
class AddressLinks:
    """
    `/auth/confirm`: who opens the link has the mail box, and what was known to others before ends.

    The first confirmed link of an account that was not verified replaces its key and ends all others: someone else may
    have registered it.
    """

    database: Database
    vault: Vault
    pages: Pages
    mails: Mails
    base_url: str
    account_changed: Callable[[int], None]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("address_links", __name__, url_prefix="/auth/confirm")
        routes.get("")(self.show)
        routes.post("")(self.confirm)
        return routes

    async def add(self, db: Executor, user: int, email: str) -> None:
        """Have a link sent to *email*, in the caller's transaction. Does nothing where no mail leaves."""
        if not self.mails.leave:
            return
        token = secrets.token_urlsafe(32)
        await address_links.add(db, user=user, email=email, token_hash=digest(token))
        link = f"{self.base_url}/auth/confirm?token={token}"
        await self.mails.add_link(db, "address_mail", user=user, email=email, link=link)

    async def unproven(self, email: str) -> str | None:
        """
        *email* where the account may have it only after a link was confirmed; else None.

        Refuses an address that is taken, and links beyond the limits.
        """
        found = await addresses.by_email(self.database, email)
        if found is not None and found.id != g.account.id:
            raise taken()
        if not self.mails.leave or (found is not None and found.verified):
            return None
        await self.mails.count_link(email, known=found is not None)
        return email

    async def ask(self, db: Executor, unproven: str | None) -> None:
        """
        Send the link that gives the request's account an *unproven* address, and tell the present one.

        Whatever address was asked for before is not the account's any more, even where its link is opened.
        """
        await address_links.withdraw(db, g.account.id, but=unproven)
        if unproven is not None:
            await self.add(db, g.account.id, unproven)
            await self.mails.tell(db, "address_asked_for")

    @for_browsers(TOKEN)
    async def show(self) -> Response:
        """The page that the link opens. It changes nothing, since mail scanners open links."""
        token = TOKEN.read_any()
        link = await address_links.show(self.database, digest(token))
        if link is None:
            return self._dead()
        same = folded(link.email) == folded(link.present)
        return self.pages.page("confirm", token=token, link=link, same=same)

    @for_browsers()
    async def confirm(self) -> Response:
        """The button of that page. It works once."""
        token = (await read_form() or {}).get("token", "")
        try:
            async with self.database.transaction() as db:
                confirmed = await address_links.confirm(db, digest(token), act_by_mail())
                key = None if confirmed is None else await self._follow(db, confirmed)
        except Duplicate:
            return self.pages.page("told", 409, title="Not confirmed", text=taken().message, problem=True)
        if confirmed is None:
            return self._dead()
        self.account_changed(confirmed.user_id)
        self.mails.ready()
        if key is not None:
            return self.pages.page("key", email=confirmed.email, key=key)
        text = f"{confirmed.email} is the address of your account. You can close this page."
        return self.pages.page("told", title="Confirmed", text=text, problem=False)

    async def _follow(self, db: Executor, confirmed: ConfirmedAddress) -> str | None:
        """A new key where the account was not verified before; where it was, a mail to the former address."""
        user, former = confirmed.user_id, confirmed.former
        if not confirmed.verified:
            return await replace_key(db, user, self.vault, act_by_mail(), others=True)
        if folded(former) != folded(confirmed.email) and self.mails.leave:
            await notifications.add_notice(db, user=user, what="address_changed", origin=g.address, to=former)
        return None

    def _dead(self) -> Response:
        text = "This link was used already, has expired, or a newer one was sent. Sign in to be sent another one."
        return self.pages.page("told", 400, title="This link does not work", text=text, problem=True)


def taken() -> Refusal:
    """The refusal of an address that another account has."""
    return Refusal("duplicate_email", "There is an account with this e-mail address.")
