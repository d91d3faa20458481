"""The button of every page that stops everything, and what releases the account."""

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.rendering import Rendering, Undo
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.sign_in import own_path
from cueapi.domain.clock import iso
from cueapi.domain.hold import HoldMode

HELD = {
    HoldMode.FIRES: "Held: nothing fires until the account is released.",
    HoldMode.EVERYTHING: "Held: nothing fires or is claimed until the account is released.",
}


@frozen
class HoldForms:
    """`/ui/hold`: what the button of every page sends."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("hold", __name__, url_prefix="/hold")
        routes.post("")(self.hold)
        routes.post("/release")(self.release)
        return routes

    async def hold(self) -> Response:
        """Hold the account, and go back to the page with the button."""
        session, form = await self.sessions.require_post()
        mode = HoldMode.EVERYTHING if form.text("mode") == HoldMode.EVERYTHING else HoldMode.FIRES
        present, back = session.hold, own_path(form.text("back"))
        # The page may be older than the hold of another: that is never eased, nor is its reason lost.
        if present is not None and mode in (present.mode, HoldMode.FIRES):
            return self.pages.back(back, "The account was held already, as is said above: nothing was changed.")
        body: dict[str, object] = {"mode": mode, "reason": form.text("reason") or (present and present.reason)}
        if present is not None and present.until is not None:
            body["until"] = iso(present.until)
        (await self.contract.call(session, "PUT", "/v1/hold", body)).require()
        return self.pages.back(back, HELD[mode], Undo("Release", "/ui/hold/release"))

    async def release(self) -> Response:
        """Release the account."""
        session, form = await self.sessions.require_post()
        (await self.contract.call(session, "DELETE", "/v1/hold")).require()
        said = "The account was not held." if session.hold is None else "Released: what was parked fires now."
        return self.pages.back(own_path(form.text("back")), said)
