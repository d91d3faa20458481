"""Signing in, with an API key or by a mailed link, and signing out."""

from typing import Protocol

from attrs import frozen
from quart import Blueprint, Response, g, request

from cueapi.dashboard.forms import Form, read_form
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions, digest
from cueapi.domain.errors import Invalid
from cueapi.storage import browser_sessions

FAILURES, WINDOW = 10, 60.0
"""How many sign-ins of an address may fail, and in how many seconds; then a right key is refused, too."""

WRONG_KEY = (
    "This key opens no account here: it was replaced, there is a slip in it, or it is not the account's own key."
)
NO_ADDRESS = "This is no e-mail address; please check it."


class FailureWindow(Protocol):
    """Counts what fails in a sliding window."""

    async def check(self, name: str, key: str, limit: int, window: float) -> None:
        """Count one more; refuse it where it is one too many."""
        ...

    async def release(self, name: str, key: str) -> None:
        """Take back the newest one."""
        ...


@frozen
class FailedSignIns:
    """
    Bounds the sign-ins that fail, by the client's address.

    Each is counted before its key is looked at, and taken back where that is right: also of a thousand at once, ten
    are looked at.
    """

    windows: FailureWindow

    async def begin(self) -> None:
        """Count the request as failed. Refuses what is one too many."""
        await self.windows.check("sign-in", g.address, FAILURES, WINDOW)

    async def succeed(self) -> None:
        """It did not fail."""
        await self.windows.release("sign-in", g.address)


class LinkSender(Protocol):
    """Sends links that sign in."""

    @property
    def can_be_sent(self) -> bool:
        """Whether a link can be asked for."""
        ...

    async def send(self, text: str) -> str:
        """Send one to that address, and return it. Refuses what is none, and links beyond the limits."""
        ...


@frozen
class SignIn:
    """`/ui/sign-in` and `/ui/sign-out`."""

    pages: Rendering
    sessions: BrowserSessions
    failed: FailedSignIns
    links: LinkSender
    prints_links: bool

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("sign_in", __name__)
        routes.get("/sign-in")(self.show)
        routes.post("/sign-in")(self.enter)
        routes.post("/sign-out")(self.leave)
        return routes

    async def show(self) -> Response:
        """The forms: a key, or an address that a link goes to."""
        wanted = own_path(request.args.get("next"))
        if await self.sessions.find() is not None:
            return self.pages.see_other(wanted)
        return self._page(200, wanted)

    async def enter(self) -> Response:
        """What one of the forms has sent. A key is neither shown again nor kept."""
        self.sessions.check_origin()
        form = await read_form()
        if form.has("email") and not form.has("api_key"):
            return await self._send_link(form)
        return await self._by_key(form)

    async def leave(self) -> Response:
        """End the session."""
        session, _ = await self.sessions.require_post()
        response = self.pages.see_other("/ui/sign-in")
        await self.sessions.end(response, session)
        return response

    async def _by_key(self, form: Form) -> Response:
        await self.failed.begin()
        wanted = own_path(form.text("next"))
        response, db = self.pages.see_other(wanted), self.sessions.database
        user = await browser_sessions.user_of_key(db, digest(form.text("api_key")))
        if user is None or not await self.sessions.begin(db, response, user):
            return self._page(401, wanted, key_problem=WRONG_KEY)
        await self.failed.succeed()
        return response

    async def _send_link(self, form: Form) -> Response:
        text = form.text("email")
        try:
            email = await self.links.send(text)
        except Invalid:
            return self._page(422, own_path(form.text("next")), email=text, email_problem=NO_ADDRESS)
        return self.pages.render("link_sent", email=email, printed=self.prints_links)

    def _page(
        self, status: int, wanted: str, *, email: str = "", key_problem: str = "", email_problem: str = ""
    ) -> Response:
        return self.pages.render(
            "sign_in", None, status, next=wanted, email=email, key_problem=key_problem, email_problem=email_problem,
            links=self.links.can_be_sent,
        )  # fmt: skip


def own_path(wanted: str | None) -> str:
    """Where a sign-in leads: *wanted* if it is a path below `/ui`, else the first page."""
    ours = wanted is not None and (wanted == "/ui" or wanted.startswith(("/ui/", "/ui?")))
    if not ours or wanted is None or not wanted.isprintable() or "\\" in wanted or _climbs(wanted):
        return "/ui"
    return wanted


def _climbs(path: str) -> bool:
    """Whether a browser would leave `/ui` by a segment of dots, plain or escaped (WHATWG URL, 4.4)."""
    plain = path.partition("?")[0].partition("#")[0].lower().replace("%2e", ".")
    return ".." in plain.split("/")
