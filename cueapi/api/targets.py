"""Targets: list the hosts that are called, ask for a probe of one that is down."""

import re

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act_of_body
from cueapi.api.http.cursors import DAMAGED
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Choice, Text, page_limit
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.responses import targets as responses
from cueapi.domain.audit import Act
from cueapi.domain.breaker import TargetState
from cueapi.domain.errors import Refusal
from cueapi.domain.url import read_place
from cueapi.storage import target_pages
from cueapi.storage.database import Database
from cueapi.storage.targets import TargetKey
from cueapi.wakeups.hub import WakeupHub

PROBE_PAUSE = 30.0
"""Seconds between two probes of a target that are asked for."""

STATE = Choice("state", "Only targets in this state.", TargetState)
LIMIT = page_limit(50)
CURSOR = Text("cursor", "`next_cursor` of the page before, under the same filters.")

_HOST_AND_PORT = re.compile(r"\S{1,255}:[0-9]{1,5}")


@frozen
class Targets:
    """`/v1/targets`."""

    database: Database
    hub: WakeupHub

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("targets", __name__, url_prefix="/v1/targets")
        routes.get("")(self.list)
        routes.post("/<path:host>/probe")(self.probe)
        # A path as a part takes in a slash at the end, which other routes pass over.
        routes.post("/<path:host>/probe/")(self.probe)
        return routes

    @operation(responses.TargetList, scope="read", parameters=(STATE, LIMIT, CURSOR), refuses=("invalid_filter",))
    async def list(self) -> Response:
        """
        List the hosts that the cues of the account call, by their names.

        One that cannot serve is `open`: what is for it waits, and uses no attempt, until a probe succeeds.
        """
        state, after, limit = STATE.read(), CURSOR.read(), LIMIT.read()
        if after is not None and not _HOST_AND_PORT.fullmatch(after):
            raise Refusal("invalid_filter", DAMAGED)
        page = await target_pages.page(self.database, user=g.account.id, state=state, after=after, limit=limit)
        shown = {
            "targets": [responses.Target.render(row) for row in page.rows],
            "limit": limit,
            "has_more": page.more,
            "next_cursor": page.rows[-1].host if page.more else None,
        }
        return answer(shown)

    @operation(responses.Probed, scope="write", body=ReasonBody, parameters=(REASON,), refuses=("target_not_found",))
    async def probe(self, host: str) -> Response:
        """
        Probe a target that is down at once, by the delivery that has waited longest.

        Where nothing waits for it, or a hold stops all that does, it is not probed. At most one probe in 30 seconds can
        be asked for.
        """
        target = _target(host)
        asked = await self._ask(target, await act_of_body())
        if asked.is_asked:
            self.hub.target_changed()
        elif asked.is_awaited:
            pause = max(round(asked.pause + 0.5), 1)
            raise Refusal(
                "rate_limit_exceeded", f"It was probed moments ago; ask again in {pause} s.", retry_after=pause
            )
        return answer({"host": target.host, "probed": asked.is_asked})

    async def _ask(self, target: TargetKey, why: Act) -> target_pages.AskedProbe:
        """What comes of it; refuses a host that the account has nothing to do with."""
        asked = await target_pages.ask_for_probe(self.database, target, pause=PROBE_PAUSE, act=why)
        if not asked.is_known:
            raise _unknown()
        return asked


def _target(host: str) -> TargetKey:
    """The target of that host and port, however they are written."""
    try:
        return TargetKey(g.account.id, read_place(host))
    except ValueError:
        raise _unknown() from None


def _unknown() -> Refusal:
    return Refusal(
        "target_not_found", "No cue of this account calls that host; hosts have a port, as in a.example:443."
    )
