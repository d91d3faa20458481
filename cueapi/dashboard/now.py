"""The first page: did the agents do their work?"""

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions


@frozen
class Now:
    """`/ui`."""

    pages: Rendering
    sessions: BrowserSessions

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("now", __name__)
        routes.get("")(self.show)
        return routes

    async def show(self) -> Response:
        """The page."""
        return self.pages.render("now", await self.sessions.require())
