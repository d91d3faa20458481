"""The dashboard as one resource: its pages below `/ui`, what leads to it, and what is shown where something fails."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from cueapi.dashboard.contract import ContractRefused
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions, ForgedForm, SignedOut
from cueapi.domain.errors import Refusal
from cueapi.storage.dashboard.reading import TooSlow

NOTHING_HERE = "There is nothing at this path."

REST = "/ui/<path:_rest>"
"""The route of what no page has."""


class PageRoutes(Protocol):
    """Some pages, with their paths below `/ui`."""

    def routes(self) -> Blueprint:
        """Their paths."""
        ...


@frozen
class Dashboard:
    """`/ui`, and `/` for browsers."""

    pages: Rendering
    sessions: BrowserSessions
    parts: Sequence[PageRoutes]

    def routes(self) -> Blueprint:
        """Its paths."""
        outer, routes = Blueprint("dashboard", __name__), Blueprint("ui", __name__, url_prefix="/ui")
        for part in (self.pages.assets, *self.parts):
            routes.register_blueprint(part.routes())
        routes.get(REST.removeprefix("/ui"))(self.nothing)
        routes.register_error_handler(SignedOut, self._signed_out)
        routes.register_error_handler(ForgedForm, self._forged)
        routes.register_error_handler(ContractRefused, self._refused)
        routes.register_error_handler(TooSlow, self._too_slow)
        routes.after_request(self._as_page)
        outer.get("/")(self.open)
        outer.get("/favicon.ico")(self.icon)
        outer.register_blueprint(routes)
        return outer

    async def open(self) -> Response:
        """`/`: people are led to the dashboard, programs get what they got without one."""
        if "text/html" not in request.headers.get("Accept", ""):
            raise Refusal("not_found", NOTHING_HERE)
        return self.pages.see_other("/ui")

    async def icon(self) -> Response:
        """What browsers ask for by themselves, also on pages of others."""
        return self.pages.see_other(self.pages.assets.path("favicon.svg"))

    async def nothing(self, _rest: str) -> Response:
        """Any other path below `/ui`."""
        await self.sessions.require()
        raise Refusal("not_found", NOTHING_HERE)

    async def _signed_out(self, _: SignedOut) -> Response:
        """To the page for signing in, which leads back; never a fragment of a page."""
        if request.headers.get("X-Fragment") == "1" or "text/event-stream" in request.headers.get("Accept", ""):
            return Response(b"", 401, {"Cache-Control": "no-store"})
        if request.method != "GET":
            return self.pages.see_other("/ui/sign-in")
        query = request.query_string.decode("latin-1")
        wanted = request.path + (f"?{query}" if query else "")
        return self.pages.see_other(f"/ui/sign-in?next={quote(wanted, safe='/')}")

    async def _forged(self, _: ForgedForm) -> Response:
        text = (
            "This form was not sent by a page of this session, so nothing was done. Open the page anew, and try again."
        )
        return self._failure(403, "csrf_failed", text)

    async def _refused(self, refused: ContractRefused) -> Response:
        answer = refused.answer
        page = self._failure(answer.status, answer.code, answer.message)
        if (after := answer.headers.get("retry-after")) is not None:
            page.headers["Retry-After"] = after
        return page

    async def _too_slow(self, _: TooSlow) -> Response:
        """A page without filters, or none that is a list; one with filters names them itself."""
        advice = "It cannot be asked for less here: try again in a moment, or look at the executions of one cue."
        return self.pages.render("too_slow", g.get("session"), 503, advice=advice)

    async def _as_page(self, response: Response) -> Response:
        """
        A failure that the app answers in the contract's form, as a page; pages stay as they are.

        Where only forms are sent to a path, a browser that asks for it (the answer to one was looked at, and is loaded
        anew) is led to the page with that form.
        """
        if response.status_code < 400 or response.mimetype != "application/json":
            return response
        if response.status_code == 404 and request.method == "GET" and (above := page_of_form(request.path)):
            return self.pages.see_other(above)
        error = ((await response.get_json()) or {}).get("error", {})
        page = self._failure(response.status_code, str(error.get("code", "")), str(error.get("message", "")))
        if (after := response.headers.get("Retry-After")) is not None:
            page.headers["Retry-After"] = after
        return page

    def _failure(self, status: int, code: str, text: str) -> Response:
        title = {404: "Nothing here", 429: "Too often", 503: "Not now"}.get(status, HTTPStatus(status).phrase)
        return self.pages.render("failure", g.get("session"), status, title=title, code=code, text=text)


def page_of_form(path: str) -> str | None:
    """The nearest page above a path that forms are sent to, and that no page has; None for any other path."""
    action, page = _rule_of(path, "POST"), _rule_of(path, "GET")
    if action is None or page == action:
        return None
    while path != "/ui":
        path = path.rpartition("/")[0]
        if _rule_of(path, "GET") not in (None, REST):
            break
    return quote(path)


def _rule_of(path: str, method: str) -> str | None:
    """The route that answers *method* at *path*."""
    try:
        rule, _ = current_app.url_map.bind("").match(path, method, return_rule=True)
    except HTTPException:
        return None
    return str(rule.rule)
