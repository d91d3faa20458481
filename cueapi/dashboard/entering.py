"""The page of a link that signs in: from a mail, from the operator, or for the server's first account."""

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.forms import read_form
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.sign_in import NO_ADDRESS, FailedSignIns
from cueapi.domain.account import SignedIn
from cueapi.domain.errors import Invalid
from cueapi.storage.database import Executor
from cueapi.storage.sign_in_links import SignInLink


class LinkTaker(Protocol):
    """Says whom a link signs in."""

    async def show(self, token: str) -> SignInLink | None:
        """What a link is for; None where it serves no more."""
        ...

    async def take(self, db: Executor, token: str, entered: str) -> SignedIn | None:
        """Who signs in by a link, which works once; None where it does not work."""
        ...


class _DeadLink(Exception):
    """The link does not work; the transaction is rolled back."""


@frozen
class Entering:
    """`/ui/enter/TOKEN`. The link changes nothing, since mail scanners open links: its button does."""

    pages: Rendering
    sessions: BrowserSessions
    failed: FailedSignIns
    links: LinkTaker
    account_changed: Callable[[int], None]

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("entering", __name__, url_prefix="/enter")
        routes.get("/<token>")(self.show)
        routes.post("/<token>")(self.enter)
        return routes

    async def show(self, token: str) -> Response:
        """The page with the button."""
        return await self._page(token, 200)

    async def enter(self, token: str) -> Response:
        """The button: it works once."""
        self.sessions.check_origin()
        entered = (await read_form()).text("email")
        await self.failed.begin()
        try:
            response = await self._enter(token, entered)
        except Invalid:
            response = await self._page(token, 422, email=entered, problem=NO_ADDRESS)
        except _DeadLink:
            return self._dead()
        await self.failed.succeed()
        return response

    async def _enter(self, token: str, entered: str) -> Response:
        async with self.sessions.database.transaction() as db:
            signed_in = await self.links.take(db, token, entered)
            if signed_in is None:
                raise _DeadLink
            if signed_in.key is None:
                response = self.pages.see_other("/ui")
            else:
                response = self.pages.render("new_key", email=signed_in.email, key=signed_in.key)
            if not await self.sessions.begin(db, response, signed_in.user):
                raise _DeadLink
        self.account_changed(signed_in.user)
        return response

    async def _page(self, token: str, status: int, *, email: str = "", problem: str = "") -> Response:
        link = await self.links.show(token)
        if link is None or (link.email is None and not link.first):
            return self._dead()
        return self.pages.render("enter", None, status, token=token, link=link, email=email, problem=problem)

    def _dead(self) -> Response:
        text = "This link was used already, or its 15 minutes are over."
        return self.pages.render("failure", None, 400, title="This link does not work", code="", text=text)
