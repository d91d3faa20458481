"""Alerts: open ones first, to be acknowledged one by one or all that are shown."""

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.contract import Contract, ContractAnswer
from cueapi.dashboard.paths import read_cursor, with_query, write_cursor
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.sign_in import own_path
from cueapi.domain.execution import AlertType
from cueapi.storage.dashboard import alerts
from cueapi.storage.dashboard.alerts import AlertCursor
from cueapi.storage.dashboard.reading import PageReader

PATH = "/ui/alerts"

WORDS = {
    AlertType.CONSECUTIVE_FAILURES: "failures in a row",
    AlertType.VERIFICATION_FAILED: "evidence missing",
    AlertType.OUTCOME_TIMEOUT: "no outcome",
    AlertType.EXECUTION_FAILED: "failed",
    AlertType.MISSED_RUN: "missed or late",
    AlertType.WORKER_OFFLINE: "worker offline",
    AlertType.BUDGET_WARNING: "budget nearly used",
    AlertType.BUDGET_REACHED: "budget reached",
}
"""Types of alerts in words."""


@frozen
class AlertsPage:
    """`/ui/alerts`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("alerts", __name__, url_prefix="/alerts")
        routes.get("")(self.show)
        routes.post("/acknowledge")(self.acknowledge)
        return routes

    async def show(self) -> Response:
        """The page."""
        session = await self.sessions.require()
        behind = read_cursor(request.args.get("cursor"))
        cursor = behind and AlertCursor(behind[2], behind[0], behind[1])
        page = await alerts.page(PageReader(self.sessions.database), user=session.user, behind=cursor)
        last = page.alerts[-1] if page.has_more else None
        older = last and with_query(PATH, cursor=write_cursor(last.created_at, last.id, last.acknowledged))
        return self.pages.render(
            "alerts", session, alerts=page.alerts, older=older, is_first=behind is None, words=WORDS,
            open=[one for one in page.alerts if not one.acknowledged], back=request.full_path.rstrip("?"),
        )  # fmt: skip

    async def acknowledge(self) -> Response:
        """Acknowledge each alert that the form names: one, or all that its page shows, and no other."""
        session, form = await self.sessions.require_post()
        named = [*dict.fromkeys(form.all("alert"))]
        answer = await self.contract.call(session, "POST", "/v1/alerts/acknowledge", {"ids": named})
        return self.pages.back(own_path(form.text("back")), _acknowledged(named, answer))


def _acknowledged(named: list[str], answer: ContractAnswer) -> str:
    if not named or not answer.ok:
        return "No alert was named." if not named else answer.message
    done = len(answer.body["acknowledged"])
    if done < len(named):
        return f"{done} of {len(named)} {'is' if done == 1 else 'are'} acknowledged. The others are not there any more."
    return "Acknowledged." if done == 1 else f"{done} alerts are acknowledged."
