"""Links in mails that show whose mail box a channel leads to, and their page."""

import secrets

from attrs import field, frozen
from quart import Blueprint, Response, g

from cueapi.api.http.body import read_form
from cueapi.api.http.operations import for_browsers
from cueapi.api.http.parameters import Text
from cueapi.api.mails import Mails
from cueapi.api.pages import Pages
from cueapi.domain.errors import Refusal
from cueapi.storage import addresses, channels
from cueapi.storage.database import Database, Executor
from cueapi.storage.sign_in import digest

TOKEN = Text("token", "The token of the link.")


@frozen
class ChannelLink:
    """A link that is to be sent; its token stands readable in no row. *known*: its address has an account."""

    token: str = field(repr=False)
    known: bool

    @property
    def token_hash(self) -> bytes:
        """What is kept of the token."""
        return digest(self.token)


@frozen
class ChannelLinks:
    """`/auth/channel`: without the consent of its owner no mail box is told of anything."""

    database: Database
    pages: Pages
    mails: Mails
    base_url: str

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("channel_links", __name__, url_prefix="/auth/channel")
        routes.get("")(self.show)
        routes.post("")(self.confirm)
        return routes

    async def needed(self, address: str) -> ChannelLink | None:
        """As `wanted`, counted: refuses links beyond the limits."""
        if (link := await self.wanted(address)) is not None:
            await self.mails.count_link(address, known=link.known)
        return link

    async def wanted(self, address: str) -> ChannelLink | None:
        """The link that *address* is confirmed by; None for no address, and for the account's own that is verified."""
        if not address:
            return None
        if not self.mails.leave:
            raise Refusal("email_not_configured", "This server sends no mail; its operator can set SMTP_URL.")
        found = await addresses.by_email(self.database, address)
        if found is not None and found.id == g.account.id and found.verified:
            return None
        return ChannelLink(secrets.token_urlsafe(32), known=found is not None)

    async def send(self, db: Executor, link: ChannelLink, address: str, channel: str) -> None:
        """Have the link sent, in the caller's transaction."""
        text = f"{self.base_url}/auth/channel?token={link.token}"
        await self.mails.add_link(
            db, "address_mail", user=g.account.id, email=address, link=text, channel=channel, asked_by=g.account.email
        )

    async def send_again(self, db: Executor, link: ChannelLink, address: str, channel: str) -> None:
        """As `send`, counted: refuses links beyond the limits."""
        await self.mails.count_link(address, known=link.known)
        await self.send(db, link, address, channel)

    @for_browsers(TOKEN)
    async def show(self) -> Response:
        """The page that the link opens. It changes nothing, since mail scanners open links."""
        token = TOKEN.read_any()
        link = await channels.show_link(self.database, digest(token))
        return self._dead() if link is None else self.pages.page("channel", token=token, link=link)

    @for_browsers()
    async def confirm(self) -> Response:
        """The button of that page. It works once."""
        token = (await read_form() or {}).get("token", "")
        address = await channels.confirm(self.database, digest(token))
        if address is None:
            return self._dead()
        text = f"{address} hears of incidents from now on. You can close this page."
        return self.pages.page("told", title="Confirmed", text=text, problem=False)

    def _dead(self) -> Response:
        text = "This link was used already, has expired, or the channel has another address by now."
        return self.pages.page("told", 400, title="This link does not work", text=text, problem=True)
