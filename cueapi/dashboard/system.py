"""The state of the server, for people: what `/health` says, and what is behind it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.storage import system

SIGNS = {
    "running": "succeeded",
    "starting": "waiting",
    "draining": "waiting",
    "stopped": "paused",
    "restarting": "failed",
    "stalled": "missed",
    "failed": "failed",
    "waiting": "missed",
}
"""The sign of a sibling's state; of another one it is not known what it means."""

WELL = {
    "healthy": ("succeeded", "Everything runs."),
    "degraded": ("missed", "Something does not run as it should."),
}


@frozen
class InUse:
    """How much of something is in use."""

    name: str
    used: int
    most: int
    unit: str


@frozen
class Figures:
    """What this process knows of itself; *clock_offset* is how far PostgreSQL's clock is ahead of its own (seconds)."""

    address: str
    daemon: int | None
    tzdata: str
    clock_offset: float
    gauges: Sequence[InUse]


@frozen
class SystemPage:
    """`/ui/system`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    figures: Callable[[], Figures]

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("system", __name__)
        routes.get("/system")(self.show)
        return routes

    async def show(self) -> Response:
        """The page."""
        session, db = await self.sessions.require(), self.sessions.database
        health = (await self.contract.call(session, "GET", "/health")).body
        sign, sentence = WELL.get(str(health["status"]), ("unknown", "It cannot be told how the server is."))
        return self.pages.render(
            "system", session, health=health, sign=sign, sentence=sentence, signs=SIGNS, figures=self.figures(),
            facts=await system.facts(db), daemons=await system.daemons(db), siblings=_siblings(health),
        )  # fmt: skip


def _siblings(health: dict[str, Any]) -> list[dict[str, Any]]:
    """The siblings in the order of the start, with moments as such."""
    return [
        {"name": name, **entry, "since": datetime.fromisoformat(entry["since"])}
        for name, entry in health["siblings"].items()
    ]
