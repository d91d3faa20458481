"""Hints for open pages about what has changed: a stream of server-sent events, by the cookie."""

from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, cast

from attrs import frozen
from quart import Blueprint, Response, request
from quart.wrappers.response import ResponseBody

from cueapi.dashboard.sessions import LONGEST as SESSION_LONGEST
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.errors import NotSignedIn
from cueapi.wakeups.watching import LONGEST, EventStream, Watchers

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Cookie"}


class PresentClock(Protocol):
    """A clock."""

    def now(self) -> datetime:
        """The moment."""
        ...


@frozen
class PageEvents:
    """`/ui/events`."""

    sessions: BrowserSessions
    watchers: Watchers
    clock: PresentClock

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("events", __name__)
        routes.get("/events")(self.follow)
        return routes

    async def follow(self) -> Response:
        """The stream; 204 where as many are open as may be, which tells a browser not to come back by itself."""
        session = await self.sessions.require()
        if not self.watchers.has_room(session.user):
            return Response(b"", 204)
        response = Response(b"", 200, HEADERS, content_type="text/event-stream")
        if request.method != "HEAD":
            ends = session.begun + timedelta(seconds=SESSION_LONGEST)
            left = (ends - self.clock.now()).total_seconds()
            stream = EventStream(self.watchers, session.user, partial(self._serves, session), min(LONGEST, left))
            # It has what Quart asks of a body; the module of the streams knows no Quart.
            response.response = cast(ResponseBody, stream)
            del response.headers["Content-Length"]
        return response

    async def _serves(self, session: BrowserSession) -> bool:
        try:
            await session.check(self.sessions.database)
        except NotSignedIn:
            return False
        return True
