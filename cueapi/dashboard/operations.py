"""Operations on many: which there are, and how far each has come."""

import json
from typing import Any

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.paths import read_cursor, with_query, write_cursor
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.states import ShownState
from cueapi.domain.bulk import Kind, OperationStatus, SkipReason, eta_seconds
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.storage import operations
from cueapi.storage.dashboard.reading import PageReader
from cueapi.storage.operations import OperationFilter, OperationRow

PATH = "/ui/operations"
SHOWN = 50
"""Operations of a page."""

SIGNS = {
    OperationStatus.QUEUED: ShownState("waiting", "queued"),
    OperationStatus.RUNNING: ShownState("running", "running"),
    OperationStatus.DONE: ShownState("succeeded", "done"),
    OperationStatus.CANCELLED: ShownState("paused", "cancelled"),
    OperationStatus.FAILED: ShownState("failed", "failed"),
}

TITLES = {
    Kind.REPLAY: "Replay of dead letters",
    Kind.DISMISS: "Dismissal of dead letters",
    Kind.PAUSE: "Pause of cues",
    Kind.RESUME: "Resumption of cues",
    Kind.DELETE: "Deletion of cues",
    Kind.BACKFILL: "Backfill of a cue",
}

SKIPPED = {
    SkipReason.NOT_FOUND: "did not exist",
    SkipReason.CUE_DELETED: "belong to a cue that was deleted",
    SkipReason.IN_FLIGHT: "had not ended, or have a replay that had not",
    SkipReason.NOT_DEAD: "were no dead letters any more",
    SkipReason.SUPERSEDED: "have a replay that is a dead letter itself",
    SkipReason.BUDGET_REACHED: "were beyond a budget",
    SkipReason.NOT_ACTIVE: "were not active",
    SkipReason.NOT_PAUSED: "were not paused",
    SkipReason.SCHEDULE_OVER: "have no time to come",
    SkipReason.NO_LONGER_MATCHES: "did not match any more",
    SkipReason.HAS_EXECUTION: "had their execution meanwhile",
    SkipReason.CANCELLED: "were left when it was cancelled",
}
"""Why some were passed over, in words."""


@frozen
class OperationsPage:
    """`/ui/operations`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("operation_pages", __name__, url_prefix="/operations")
        routes.get("")(self.list)
        routes.get("/<operation_id>")(self.show)
        routes.post("/<operation_id>/cancel")(self.cancel)
        return routes

    async def list(self) -> Response:
        """The newest of them."""
        session = await self.sessions.require()
        behind = read_cursor(request.args.get("cursor"))
        page = await operations.page(
            PageReader(self.sessions.database), OperationFilter(session.user), limit=SHOWN, before=behind and behind[1]
        )
        last = page.rows[-1] if page.more else None
        older = last and with_query(PATH, cursor=write_cursor(last.as_of, last.id))
        return self.pages.render(
            "operations", session, operations=[_shown(row) for row in page.rows], older=older, is_first=behind is None
        )

    async def show(self, operation_id: str) -> Response:
        """One of them."""
        session = await self.sessions.require()
        identity = parse_uuid(operation_id)
        row = identity and await operations.show(PageReader(self.sessions.database), identity, user=session.user)
        if not row:
            raise Refusal("operation_not_found", "There is no such operation.")
        return self.pages.render("operation", session, one=_shown(row))

    async def cancel(self, operation_id: str) -> Response:
        """Cancel one that is queued or runs."""
        session, _ = await self.sessions.require_post()
        identity = parse_uuid(operation_id)
        answer = await self.contract.call(session, "POST", f"/v1/operations/{identity}/cancel")
        if answer.status == 409:
            return self.pages.back(f"{PATH}/{identity}", answer.message)
        answer.require()
        return self.pages.back(f"{PATH}/{identity}", "Cancelled. What was done stays done.")


def _shown(row: OperationRow) -> dict[str, Any]:
    """An operation as the templates show it."""
    progress, scope, act = row.progress, json.loads(row.scope), json.loads(row.act)
    share = 1.0 if row.finished_at else progress.worked / progress.matched if progress.matched else 0.0
    return {
        "row": row,
        "title": TITLES[Kind(row.kind)],
        "sign": SIGNS[OperationStatus(row.status)],
        "scope": _scope(scope),
        "share": round(100 * min(share, 1.0)),
        "worked": progress.worked,
        "skipped": [(SKIPPED.get(SkipReason(reason), reason), number) for reason, number in progress.skipped.items()],
        "eta": None if row.finished_at else eta_seconds(progress, row.rate),
        "by": act["actor"]["name"],
        "reason": act["reason"],
    }


def _scope(scope: dict[str, Any]) -> str:
    """Which are meant, in words."""
    if "ids" in scope:
        return "1 that was named" if scope["ids"] == 1 else f"{scope['ids']:,} that were named"
    if "filter" in scope:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in scope["filter"].items())
    missing = ", times without an execution" if scope.get("only_missing") else ""
    return f"{scope.get('cue_id')} from {scope.get('from')} to {scope.get('to')}{missing}"
