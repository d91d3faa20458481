"""Hints about what has changed, for programs: a stream of server-sent events."""

from functools import partial
from typing import cast

from attrs import frozen
from quart import Blueprint, Response, g, request
from quart.wrappers.response import ResponseBody

from cueapi.api.http.auth import Authenticator
from cueapi.api.http.operations import EVENTS, operation
from cueapi.domain.errors import NotSignedIn
from cueapi.wakeups.watching import LONGEST, EventStream, Watchers


@frozen
class Events:
    """`/v1/events`."""

    authenticator: Authenticator
    watchers: Watchers

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("events", __name__, url_prefix="/v1/events")
        routes.get("")(self.follow)
        return routes

    @operation(EVENTS, scope="read", in_groups=True, also=((204, None),))
    async def follow(self) -> Response:
        """
        Follow what changes, as server-sent events.

        An event `changed` names topics of the account (`executions`, `cues`, `alerts`, `workers`) in which something
        is another now, at most once a second; it carries no data, so ask for what you show. A comment comes every 15
        seconds. The stream ends after 10 minutes at the latest: open it again. 204: as many streams are open as may be.
        """
        user, header = g.account.id, request.headers.get("Authorization")
        if not self.watchers.has_room(user):
            return Response(b"", 204)
        longest = min(LONGEST, self.authenticator.serves_for(header, g.account.grant))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = Response(b"", 200, headers, content_type=EVENTS)
        if request.method != "HEAD":
            stream = EventStream(self.watchers, user, partial(self._serves, header), longest)
            # It has what Quart asks of a body; the module of the streams knows no Quart.
            response.response = cast(ResponseBody, stream)
            del response.headers["Content-Length"]
        return response

    async def _serves(self, header: str | None) -> bool:
        try:
            await self.authenticator.account(header)
        except NotSignedIn:
            return False
        return True
