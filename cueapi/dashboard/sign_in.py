"""Signing in with an API key, and signing out."""

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.forms import read_form
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions, digest
from cueapi.storage import browser_sessions

FAILED_SIGN_INS, WINDOW = 10, 60.0
"""How many sign-ins of an address may fail, and in how many seconds; then also a right key is refused."""


@frozen
class SignIn:
    """`/ui/sign-in` and `/ui/sign-out`."""

    pages: Rendering
    sessions: BrowserSessions

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("sign_in", __name__)
        routes.get("/sign-in")(self.show)
        routes.post("/sign-in")(self.enter)
        routes.post("/sign-out")(self.leave)
        return routes

    async def show(self) -> Response:
        """The form."""
        wanted = own_path(request.args.get("next"))
        if await self.sessions.find() is not None:
            return self.pages.see_other(wanted)
        return self.pages.render("sign_in", next=wanted, problem=None)

    async def enter(self) -> Response:
        """A key opens a session; it is never sent back, nor kept."""
        self.sessions.check_origin()
        form = await read_form()
        wanted = own_path(form.text("next"))
        key = form.text("api_key")
        user = await browser_sessions.user_of_key(self.sessions.database, digest(key))
        response = self.pages.see_other(wanted)
        if user is None or not await self.sessions.begin(response, user):
            problem = "This key opens no account here: it was replaced, or there is a slip in it."
            return self.pages.render("sign_in", None, 401, next=wanted, problem=problem)
        return response

    async def leave(self) -> Response:
        """End the session."""
        session, _ = await self.sessions.require_post()
        response = self.pages.see_other("/ui/sign-in")
        await self.sessions.end(response, session)
        return response


def own_path(wanted: str | None) -> str:
    """Where a sign-in leads: *wanted* if it is a path below `/ui`, else the first page."""
    ours = wanted is not None and (wanted == "/ui" or wanted.startswith(("/ui/", "/ui?")))
    if not ours or wanted is None or any(sign in wanted for sign in "\\\r\n\t\0") or "/../" in f"{wanted}/":
        return "/ui"
    return wanted
