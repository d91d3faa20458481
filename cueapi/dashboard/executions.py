"""The list of executions: filtered, a page at a time, and replayed by selection."""

from collections.abc import Callable, Mapping
from secrets import token_hex

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.forms import once
from cueapi.dashboard.paths import (
    a_text,
    asked_for,
    chosen,
    read_cursor,
    read_filters,
    read_moment,
    with_query,
    write_cursor,
)
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.sign_in import own_path
from cueapi.dashboard.states import OUTCOME_STATES, STATUSES, state_of
from cueapi.domain.ids import parse_uuid
from cueapi.storage.dashboard import executions
from cueapi.storage.dashboard.executions import ExecutionFilter, ExecutionPage
from cueapi.storage.dashboard.reading import PageReader, TooSlow

PATH = "/ui/executions"


@frozen
class ExecutionsPage:
    """`/ui/executions`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("executions", __name__, url_prefix="/executions")
        routes.get("")(self.show)
        routes.post("/replay")(self.replay)
        return routes

    async def show(self) -> Response:
        """The page; a filter that cannot be read stands beside its field, and nothing is listed."""
        session = await self.sessions.require()
        given = asked_for(READERS)
        wanted, problems = _filter(session.user, given)
        if wanted is None:
            return await self._page(session, 400, given, problems=problems)
        try:
            page = await executions.page(PageReader(self.sessions.database), wanted)
        except TooSlow:
            return await self._page(session, 503, given, advice=narrower(given))
        return await self._page(session, 200, given, page=page)

    async def _page(
        self,
        session: BrowserSession,
        status: int,
        given: dict[str, str],
        *,
        page: ExecutionPage | None = None,
        problems: dict[str, str] | None = None,
        advice: str | None = None,
    ) -> Response:
        lines = [] if page is None else page.lines
        name = lines[0].cue_name if lines and given["cue_id"] else await self._cue_name(session, given["cue_id"])
        last = lines[-1] if page is not None and page.has_more else None
        older = last and with_query(PATH, **given, cursor=write_cursor(last.created_at, last.id))
        return self.pages.render(
            "executions", session, status, lines=lines, given=given, problems=problems or {}, advice=advice,
            older=older, is_first=not request.args.get("cursor"), first=with_query(PATH, **given),
            is_filtered=any(given.values()), cue_name=name, state_of=state_of, statuses=STATUSES,
            outcome_states=OUTCOME_STATES, nonce=token_hex(16), back=request.full_path.rstrip("?"),
        )  # fmt: skip

    async def _cue_name(self, session: BrowserSession, cue_id: str) -> str | None:
        if not cue_id:
            return None
        return await executions.cue_name(PageReader(self.sessions.database), cue_id=cue_id, user=session.user)

    async def replay(self) -> Response:
        """Replay each execution that was selected; a second click of the same page replays none of them again."""
        session, form = await self.sessions.require_post()
        back, selected = own_path(form.text("back")), form.all("execution")
        headers, done, refused = once(form), 0, ""
        for identity in map(parse_uuid, selected):
            answer = await self.contract.call(session, "POST", f"/v1/executions/{identity}/replay", {}, headers)
            done, refused = done + answer.ok, refused or answer.message
        return self.pages.back(back, _replayed(len(selected), done, refused))


def _replayed(selected: int, done: int, refused: str) -> str:
    if not selected:
        return "No execution was selected."
    if done == selected:
        return "Replayed: 1 new execution." if done == 1 else f"Replayed: {done} new executions."
    return f"{done} of {selected} were replayed. {refused}"


READERS: Mapping[str, Callable[[str], object]] = {
    "status": lambda text: chosen(text, STATUSES),
    "outcome_state": lambda text: chosen(text, OUTCOME_STATES),
    "cue_id": a_text(64),
    "group": a_text(63),
    "since": read_moment,
    "until": read_moment,
}


def _filter(user: int, given: dict[str, str]) -> tuple[ExecutionFilter | None, dict[str, str]]:
    """What the query asks for; None, and what is wrong with which field, where it cannot be read."""
    read, problems = read_filters(given, READERS)
    if problems:
        return None, problems
    behind = read_cursor(request.args.get("cursor"))
    return ExecutionFilter(user, **read, before=behind and behind[:2]), {}


def narrower(given: dict[str, str]) -> str:
    """Which filter to set so that the list is found sooner."""
    if not given["cue_id"]:
        return "Choose a cue, or a shorter time between “since” and “until”."
    if not (given["since"] and given["until"]):
        return "Set “since” and “until” to a shorter time."
    return "Choose a shorter time between “since” and “until”."
