"""Incidents: what is wrong, since when, and what can be done about it."""

from collections.abc import Callable, Mapping
from secrets import token_hex

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.contract import Contract, ContractAnswer
from cueapi.dashboard.paths import a_text, asked_for, chosen, read_cursor, read_filters, with_query, write_cursor
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.states import ShownState
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.domain.incident import FOLLOWS, IncidentKind, IncidentStatus, in_words
from cueapi.storage import incidents
from cueapi.storage.dashboard.reading import PageReader, TooSlow
from cueapi.storage.incidents import IncidentFilter, IncidentPage, IncidentRow

PATH = "/ui/incidents"
ROWS = 50

KINDS: dict[str, str] = {
    IncidentKind.FAILING: "failing",
    IncidentKind.LATE: "late",
    IncidentKind.UNVERIFIED: "evidence missing",
    IncidentKind.WORKER_OFFLINE: "worker offline",
    IncidentKind.TARGET_DOWN: "target down",
    IncidentKind.SET_ASIDE: "set aside",
    IncidentKind.BUDGET: "budget",
    IncidentKind.CHANNEL_FAILING: "channel disabled",
}
"""Kinds of incidents in words."""

STATUSES: dict[str, str] = {
    IncidentStatus.OPEN: "open",
    IncidentStatus.SNOOZED: "snoozed",
    IncidentStatus.RESOLVED: "over",
}
"""What a list may be filtered by, in words."""

SNOOZES = {60: "for 1 hour", 480: "for 8 hours", 1_440: "for a day", 10_080: "for a week"}
"""Minutes for which an incident may be snoozed, in words."""

READERS: Mapping[str, Callable[[str], object]] = {
    "status": lambda text: chosen(text, STATUSES),
    "kind": lambda text: chosen(text, KINDS),
    "cue_id": a_text(64),
    "group": a_text(63),
}

SUBJECTS = {
    "worker": "/ui/workers", "channel": "/ui/channels", "target": "/ui/targets",
    "account": "/ui/account/budgets", "group": "/ui/account/budgets",
}  # fmt: skip
"""Where what an incident is about is listed, by its kind."""

ADVICE = "Choose a cue, or a kind; or see those that are open."

DONE = {"acknowledge": "Acknowledged: no reminders come of it.", "resolve": "Resolved."}


@frozen
class IncidentPages:
    """`/ui/incidents`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("incidents", __name__, url_prefix="/incidents")
        routes.get("")(self.list)
        routes.get("/<incident_id>")(self.show)
        routes.post("/<incident_id>/<verb>")(self.act)
        return routes

    async def list(self) -> Response:
        """The page of all: what is open, where nothing else is asked for."""
        session = await self.sessions.require()
        given = asked_for(READERS)
        read, problems = read_filters(given, READERS)
        if problems:
            return self._list(session, 400, given, problems=problems)
        behind = read_cursor(request.args.get("cursor"))
        reader = PageReader(self.sessions.database)
        read |= {"cue": read.pop("cue_id"), "status": read["status"] or IncidentStatus.OPEN}
        wanted = IncidentFilter(session.user, **read)
        try:
            page = await incidents.page(reader, wanted, before=behind and behind[:2], limit=ROWS)
        except TooSlow:
            return self._list(session, 503, given, advice=ADVICE)
        return self._list(session, 200, given, page=page)

    def _list(
        self,
        session: BrowserSession,
        status: int,
        given: dict[str, str],
        *,
        page: IncidentPage | None = None,
        problems: dict[str, str] | None = None,
        advice: str | None = None,
    ) -> Response:
        rows = [] if page is None else page.rows
        last = rows[-1] if page is not None and page.more else None
        older = last and with_query(PATH, **given, cursor=write_cursor(last.opened_at, last.id))
        return self.pages.render(
            "incidents", session, status, incidents=rows, given=given, problems=problems or {}, advice=advice,
            chosen_status=given["status"] or IncidentStatus.OPEN, kinds=KINDS, statuses=STATUSES, sign=sign,
            older=older, is_first=not request.args.get("cursor"), first=with_query(PATH, **given),
        )  # fmt: skip

    async def show(self, incident_id: str) -> Response:
        """The page of one."""
        session = await self.sessions.require()
        identity = parse_uuid(incident_id)
        row = identity and await incidents.show(
            PageReader(self.sessions.database), incident=identity, user=session.user
        )
        if not row:
            raise Refusal("incident_not_found", "There is no such incident.")
        return self.pages.render(
            "incident", session, incident=row, kinds=KINDS, sign=sign(row), subject_path=subject_path(row),
            follows=FOLLOWS[IncidentKind(row.kind)], snoozes=SNOOZES, lasted=_lasted(row),
            nonce=token_hex(16),
        )  # fmt: skip

    async def act(self, incident_id: str, verb: str) -> Response:
        """Acknowledge, snooze or resolve it."""
        session, form = await self.sessions.require_post()
        bodies: dict[str, dict[str, object]] = {
            "acknowledge": {"note": form.text("note")} if form.text("note") else {},
            "snooze": {"minutes": _minutes(form.text("minutes"))},
            "resolve": {"reason": form.text("reason") or "resolved in the dashboard"},
        }
        if verb not in bodies:
            raise Refusal("not_found", "There is nothing at this path.")
        identity = parse_uuid(incident_id)
        answer = await self.contract.call(session, "POST", f"/v1/incidents/{identity}/{verb}", bodies[verb])
        if answer.code != "invalid_state":
            answer.require()
        return self.pages.back(f"{PATH}/{identity}", _said(verb, answer))


def sign(row: IncidentRow) -> ShownState:
    """The sign of an incident, with its status in a word."""
    if row.status == IncidentStatus.RESOLVED:
        return ShownState("succeeded", "over")
    if row.status == IncidentStatus.SNOOZED:
        return ShownState("paused", "snoozed")
    word = "open" if row.acknowledged_at is None else "acknowledged"
    return ShownState("failed" if row.severity == "critical" else "missed", word)


def subject_path(row: IncidentRow) -> str | None:
    """The page of what it is about; None where there is none."""
    if row.cue_id is not None:
        return f"/ui/cues/{row.cue_id}"
    return SUBJECTS.get(row.subject_kind)


def _minutes(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _said(verb: str, answer: ContractAnswer) -> str:
    if not answer.ok:
        return answer.message
    return DONE.get(verb) or f"Snoozed until {answer.body['snoozed_until'][:16].replace('T', ' ')} UTC."


def _lasted(row: IncidentRow) -> str | None:
    """How long a resolved one was unresolved."""
    if row.resolved_at is None:
        return None
    return in_words((row.resolved_at - row.opened_at).total_seconds())
