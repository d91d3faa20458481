"""The audit: who has done what, field by field, and why."""

import json
from collections.abc import Callable, Mapping
from uuid import UUID

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.actors import ACTIONS, actor_words
from cueapi.dashboard.paths import a_text, asked_for, read_cursor, read_filters, read_moment, with_query, write_cursor
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.errors import Refusal
from cueapi.storage import audit
from cueapi.storage.audit import AuditFilter, AuditPage, AuditRow, Behind
from cueapi.storage.dashboard.reading import PageReader, TooSlow

PATH = "/ui/account/audit"
ROWS = 50
"""How many a page has."""

PAGES = {
    "cue": "/ui/cues/", "execution": "/ui/executions/", "incident": "/ui/incidents/", "operation": "/ui/operations/",
}  # fmt: skip
"""Where a subject is shown, by its kind."""

LISTS = {
    "account": "/ui/account", "secret": "/ui/account", "key": "/ui/account/keys", "budget": "/ui/account/budgets",
    "target": "/ui/targets", "channel": "/ui/channels", "mute": "/ui/mutes",
}  # fmt: skip
"""Where a subject without a page of its own is listed."""

ADVICE = "Name a subject or an actor, or choose a shorter time between “since” and “until”."


@frozen
class AuditTrail:
    """`/ui/account/audit`."""

    pages: Rendering
    sessions: BrowserSessions

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("audit", __name__, url_prefix="/account/audit")
        routes.get("")(self.show)
        return routes

    async def show(self) -> Response:
        """The page; a filter that cannot be read stands beside its field, and nothing is listed."""
        session = await self.sessions.require()
        given = asked_for(READERS)
        wanted, problems = _filter(session.user, given)
        if wanted is None:
            return self._page(session, 400, given, problems=problems)
        try:
            page = await audit.page(PageReader(self.sessions.database), wanted, limit=ROWS)
        except TooSlow:
            return self._page(session, 503, given, advice=ADVICE)
        return self._page(session, 200, given, page=page)

    def _page(
        self,
        session: BrowserSession,
        status: int,
        given: dict[str, str],
        *,
        page: AuditPage | None = None,
        problems: dict[str, str] | None = None,
        advice: str | None = None,
    ) -> Response:
        rows = [] if page is None else page.rows
        last = rows[-1] if page is not None and page.more else None
        older = last and with_query(PATH, **given, cursor=write_cursor(last.at, UUID(int=last.id)))
        return self.pages.render(
            "audit", session, status, rows=rows, given=given, problems=problems or {}, advice=advice, older=older,
            is_first=not request.args.get("cursor"), first=with_query(PATH, **given), path=PATH, actions=ACTIONS,
            is_filtered=any(given.values()), who=actor_words, changes=shown_changes, place=subject_place,
        )  # fmt: skip


def subject_place(row: AuditRow) -> str | None:
    """The page of what was changed; None where it has none, or has none any more."""
    if row.action == "cue.deleted" or row.subject_id is None:
        return None
    if row.subject_kind in PAGES:
        return PAGES[row.subject_kind] + row.subject_id
    return LISTS.get(row.subject_kind)


def shown_changes(row: AuditRow) -> list[tuple[str, str, str]]:
    """Of each field that was changed its path, and the values before and after as texts."""
    return [(str(one["path"]), _text(one["from"]), _text(one["to"])) for one in json.loads(row.changes)]


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _action(text: str) -> str | None:
    if text and text not in ACTIONS:
        raise ValueError("is no action")
    return text or None


READERS: Mapping[str, Callable[[str], object]] = {
    "action": _action,
    "subject_id": a_text(300),
    "actor_id": a_text(300),
    "since": read_moment,
    "until": read_moment,
}


def _filter(user: int, given: dict[str, str]) -> tuple[AuditFilter | None, dict[str, str]]:
    """What the query asks for; None, and what is wrong with which field, where it cannot be read."""
    read, problems = read_filters(given, READERS)
    if problems:
        return None, problems
    # The filter names what an action is about and who acts; the query names their ids.
    read["subject"], read["actor"] = read.pop("subject_id"), read.pop("actor_id")
    return AuditFilter(user, **read, behind=_behind()), {}


def _behind() -> Behind | None:
    """Where the list goes on; a row's number stands in the cursor in the place of an id."""
    cursor = read_cursor(request.args.get("cursor"))
    if cursor is None:
        return None
    if cursor[1].int >= 2**63:
        raise Refusal("invalid_filter", "The link to this part of the list is damaged; begin at its first page.")
    return cursor[0], cursor[1].int
