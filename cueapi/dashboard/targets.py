"""Targets: the hosts that cues call, those that are down first, each with a button that has it probed."""

from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.paths import asked_for, with_query
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.states import ShownState
from cueapi.domain.breaker import TargetState
from cueapi.storage.dashboard import targets
from cueapi.storage.dashboard.reading import PageReader

PATH = "/ui/targets"

SIGNS = {
    TargetState.CLOSED: ShownState("succeeded", "serves"),
    TargetState.OPEN: ShownState("failed", "down"),
    TargetState.HALF_OPEN: ShownState("running", "being probed"),
}


@frozen
class TargetsPage:
    """`/ui/targets`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("targets", __name__, url_prefix="/targets")
        routes.get("")(self.show)
        routes.post("/probe")(self.probe)
        return routes

    async def show(self) -> Response:
        """The page."""
        session = await self.sessions.require()
        after = asked_for(["cursor"])["cursor"]
        found = await targets.read(PageReader(self.sessions.database), user=session.user, after=after or None)
        last = found.serving.rows[-1] if found.serving.more else None
        return self.pages.render(
            "targets", session, down=found.down, serving=found.serving.rows, signs=SIGNS,
            is_first=not after, older=last and with_query(PATH, cursor=last.host),
            since=min((one.since for one in found.down if one.since is not None), default=None),
            waiting=sum(one.waiting for one in found.down),
        )  # fmt: skip

    async def probe(self) -> Response:
        """Have a target probed."""
        session, form = await self.sessions.require_post()
        host = form.whole_text("host")
        answer = await self.contract.call(session, "POST", f"/v1/targets/{quote(host, safe='')}/probe")
        if answer.status == 429:
            return self.pages.back(PATH, answer.message)
        answer.require()
        probed = answer.body["probed"]
        return self.pages.back(
            PATH,
            f"{host} is being probed." if probed else f"Nothing that may be sent waits for {host}: it was not probed.",
        )
