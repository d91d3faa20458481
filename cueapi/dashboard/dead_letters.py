"""Dead letters: what they have in common, then each; replayed and dismissed by filter or selection, after a look."""

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, Literal

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard import bulk_forms
from cueapi.dashboard.contract import Contract
from cueapi.dashboard.forms import Form
from cueapi.dashboard.paths import a_text, asked_for, read_cursor, read_filters, read_moment, with_query, write_cursor
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.url import read_place
from cueapi.storage import dead_letters
from cueapi.storage.dashboard.reading import PageReader, TooSlow
from cueapi.storage.dead_letters import NONE, DeadFilter, read_status

PATH = "/ui/dead"
SHOWN = 50
"""Dead letters of a page."""

KINDS = {"replay": "Replay", "dismiss": "Dismiss"}
COUNTED = 1_000
"""Dead letters, the newest, whose groups a page tells: however many more there are, it takes as long."""


@frozen
class DeadLettersPage:
    """`/ui/dead`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("dead", __name__, url_prefix="/dead")
        routes.get("")(self.show)
        routes.post("/look")(self.look)
        routes.post("/begin")(self.begin)
        return routes

    async def show(self) -> Response:
        """The page; a filter that cannot be read stands beside its field, and nothing is listed."""
        session = await self.sessions.require()
        given = asked_for(READERS)
        wanted, problems = _filter(session.user, given)
        if wanted is None:
            return self._page(session, 400, given, problems=problems)
        behind = read_cursor(request.args.get("cursor"))
        reader = PageReader(self.sessions.database)
        try:
            groups = await dead_letters.summary(reader, wanted, most=COUNTED) if behind is None else []
            page = await dead_letters.page(reader, wanted, before=behind and behind[1], limit=SHOWN)
        except TooSlow:
            return self._page(session, 503, given, advice="Choose a cue, or a shorter time.")
        last = page.rows[-1] if page.more else None
        older = last and with_query(PATH, **given, cursor=write_cursor(last.created_at, last.id))
        return self._page(
            session, 200, given, groups=groups, rows=page.rows, older=older, is_first=behind is None
        )  # fmt: skip

    def _page(self, session: BrowserSession, status: int, given: dict[str, str], **found: Any) -> Response:  # noqa: ANN401 (what was found)
        values: dict[str, Any] = {"groups": [], "rows": [], "older": None, "is_first": True, "problems": {}}
        values |= {"advice": None, **found}
        return self.pages.render(
            "dead", session, status, given=given, is_filtered=any(given.values()), first=with_query(PATH, **given),
            of_group=_of_group, count=sum(one.count for one in values["groups"]), **values,
        )  # fmt: skip

    async def look(self) -> Response:
        """What replaying or dismissing would do: a question with the number, before anything is done."""
        session, form = await self.sessions.require_post()
        kind, scope = _asked(form)
        if not scope:
            return self.pages.back(PATH, "No dead letter was selected.")
        answer = await bulk_forms.look(self.contract, session, {"kind": kind} | scope)
        back = with_query(PATH, **{name: form.text(name) for name in READERS})
        if not answer.body["matched"]:
            return self.pages.back(back, "There is no such dead letter any more.")
        return self.pages.render(
            "dead_look", session, kind=kind, verb=KINDS[kind], found=answer.body, back=back,
            rate=bulk_forms.RATE, fields=[("kind", kind), *_fields(form)], nonce=token_hex(16),
        )  # fmt: skip

    async def begin(self) -> Response:
        """Begin the operation that was looked at; a second click of the same page begins none again."""
        session, form = await self.sessions.require_post()
        kind, scope = _asked(form)
        return self.pages.see_other(await bulk_forms.begin(self.contract, session, form, {"kind": kind} | scope))


def _asked(form: Form) -> tuple[str, dict[str, Any]]:
    """
    What a form asks to be done, and to which: those that are selected, else those of its filter.

    Refuses one that says something else: more could be meant by it than was.
    """
    bulk_forms.refuse_unknown(form, ("kind", "selected", "execution", *READERS))
    kind = form.text("kind")
    if kind not in KINDS:
        raise Invalid(Problem("kind", f"must be one of {', '.join(KINDS)}"))
    if form.has("selected"):
        ids = form.all("execution")
        return kind, {"ids": ids} if ids else {}
    given = {name: form.text(name) for name in READERS if form.text(name)}
    # Without a filter all that have ended until now are meant.
    return kind, {"filter": given or {"since": "2000-01-01T00:00:00Z"}}


def _fields(form: Form) -> list[tuple[str, str]]:
    """The fields that say which are meant, for the form after this one."""
    if form.has("selected"):
        return [("selected", "1"), *(("execution", one) for one in form.all("execution"))]
    return [(name, form.text(name)) for name in READERS if form.text(name)]


def _of_group(group: dead_letters.DeadGroupRow, given: dict[str, str]) -> str:
    """Where a group's dead letters are listed."""
    status = NONE if group.http_status is None else str(group.http_status)
    own = {"cue_id": group.cue_id, "http_status": status, "error": group.error or NONE}
    return with_query(PATH, **{**given, **own})


def _status(text: str) -> int | Literal["none"] | None:
    if text not in {"", NONE} and not (text.isdecimal() and text.isascii() and 100 <= int(text[:9]) <= 999):
        raise ValueError("is not a status such as 503, nor none")
    return read_status(text or None)


READERS: Mapping[str, Callable[[str], object]] = {
    "cue_id": a_text(64),
    "group": a_text(63),
    "host": lambda text: read_place(text) if text else None,
    "http_status": _status,
    "error": a_text(200),
    "since": read_moment,
    "until": read_moment,
}


def _filter(user: int, given: dict[str, str]) -> tuple[DeadFilter | None, dict[str, str]]:
    """What the query asks for; None, and what is wrong with which field, where it cannot be read."""
    read, problems = read_filters(given, READERS)
    return (None, problems) if problems else (DeadFilter(user, **read), {})
