"""Making a cue and changing it: the form, its preview, and the same as a line for a shell."""

import json
from hashlib import sha256
from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard import cue_fields
from cueapi.dashboard.contract import Contract, cue_path
from cueapi.dashboard.cue_fields import FieldProblems
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sent_requests import contract_command
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.cue import METHODS
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id
from cueapi.domain.outcome import Mode
from cueapi.domain.schedule_words import schedule_in_words
from cueapi.domain.zone import zone_names
from cueapi.off_loop import AT_ONCE, off_loop

SHOWN_TIMES = 10

CHANGED_MEANWHILE = (
    "Nothing was saved: the cue was changed since this form was opened. What you typed stands below; Save puts it in "
    "the place of that change."
)


@frozen
class CueForm:
    """`/ui/cues/new` and `/ui/cues/{id}/edit`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("cue_form", __name__, url_prefix="/cues")
        routes.get("/new")(self.begin)
        routes.post("/new")(self.create)
        routes.post("/preview")(self.preview)
        routes.get("/<cue_id>/edit")(self.open)
        routes.post("/<cue_id>/edit")(self.change)
        return routes

    async def begin(self) -> Response:
        """The empty form."""
        return await self._page(await self.sessions.require(), dict(cue_fields.EMPTY))

    async def open(self, cue_id: str) -> Response:
        """The form of a cue as it stands."""
        session = await self.sessions.require()
        cue = await self._cue(session, cue_id)
        values, seen = await _standing(cue)
        return await self._page(session, values, cue_id=cue_id, seen=seen)

    async def create(self) -> Response:
        """Make the cue, or show the call that does."""
        session, form = await self.sessions.require_post()
        return await self._save(session, form, None)

    async def change(self, cue_id: str) -> Response:
        """Change the cue, or show the call that does."""
        session, form = await self.sessions.require_post()
        return await self._save(session, form, await self._cue(session, cue_id))

    async def preview(self) -> Response:
        """The form as it was filled in, with the times that its schedule has."""
        session, form = await self.sessions.require_post()
        (values, problems), cue_id = cue_fields.fitting(cue_fields.typed(form)), form.text("cue_id")
        known = cue_id if is_cue_id(cue_id) else None
        return await self._page(session, values, problems=problems, cue_id=known, seen=form.text("seen"), asked=True)

    async def _save(self, session: BrowserSession, form: Form, cue: dict[str, Any] | None) -> Response:
        values, long = cue_fields.fitting(cue_fields.typed(form))
        cue_id = None if cue is None else str(cue["id"])
        known: dict[str, Any] = {"cue_id": cue_id, "seen": form.text("seen")}
        method, path = ("POST", "/v1/cues") if cue_id is None else ("PATCH", cue_path(cue_id))
        if long:
            return await self._page(session, values, 422, long, **known)
        try:
            body = await off_loop(_body_of, values, cue, size=form.size)
        except FieldProblems as found:
            return await self._page(session, values, 422, found.problems, **known)
        if form.text("do") == "curl":
            line = await off_loop(contract_command, self.sessions.base_url, method, path, body, size=form.size)
            return await self._page(session, values, line=line, **known)
        if cue is not None and known["seen"] not in ("", seen := (await _standing(cue))[1]):
            return await self._page(session, values, 409, {"": CHANGED_MEANWHILE}, cue_id=cue_id, seen=seen)
        done = await self.contract.call(session, method, path, body, once(form) if cue is None else {})
        if not done.ok:
            problems = cue_fields.problems_of(done.code, done.message, done.fields, values["kind"])
            return await self._page(session, values, done.status, problems, **known)
        said = f"“{done.body['name']}” was {'made' if cue is None else 'changed'}."
        return self.pages.back(f"/ui/cues/{done.body['id']}", f"{said} {done.body['warning'] or ''}".strip())

    async def _cue(self, session: BrowserSession, cue_id: str) -> dict[str, Any]:
        answer = await self.contract.call(session, "GET", f"{cue_path(cue_id)}?execution_limit=1")
        if not answer.ok:
            raise Refusal(answer.code, answer.message)
        return answer.body

    async def _page(
        self,
        session: BrowserSession,
        values: dict[str, Any],
        status: int = 200,
        problems: dict[str, str] | None = None,
        **shown: Any,  # noqa: ANN401 (what else the template knows)
    ) -> Response:
        """The form. What is refused of the schedule stands beside its fields, unless nothing was typed there yet."""
        found = dict(problems or {})
        times, words = await self._times(session, values, found, asked=shown.pop("asked", False))
        known = {"cue_id": None, "seen": "", "line": None} | shown
        return self.pages.render(
            "cue_form", session, status, values=values, problems=found, times=times, words=words, methods=METHODS,
            modes=list(Mode), zones=zone_names(), nonce=token_hex(16),
            opens_more=bool(cue_fields.ADVANCED & found.keys()), **known,
        )  # fmt: skip

    async def _times(
        self, session: BrowserSession, values: dict[str, Any], problems: dict[str, str], *, asked: bool
    ) -> tuple[list[dict[str, str]], str]:
        """The next times of what was typed, and the schedule in words; what is wrong with it goes to *problems*."""
        if not (values["cron"] if values["kind"] == "recurring" else values["at"]) and not asked:
            return [], ""
        schedule = cue_fields.schedule_of(values)
        body = {"schedule": schedule, "count": SHOWN_TIMES}
        answer = await self.contract.call(session, "POST", "/v1/schedule/preview", body)
        if not answer.ok:
            told = cue_fields.problems_of(answer.code, answer.message, answer.fields, values["kind"])
            problems.update({name: text for name, text in told.items() if name not in problems})
            return [], ""
        words = schedule_in_words(schedule["cron"], None, schedule["timezone"]) if "cron" in schedule else ""
        return answer.body["upcoming"], words


async def _standing(cue: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What the form shows of a cue, and a word that is another one as soon as any of it is another."""
    # A payload may be long, and indenting it takes the longer.
    return await off_loop(_marked, cue, size=AT_ONCE + 1 if cue["payload"] else 0)


def _marked(cue: dict[str, Any]) -> tuple[dict[str, Any], str]:
    values = cue_fields.values_of(cue)
    return values, sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def _body_of(values: dict[str, Any], cue: dict[str, Any] | None) -> dict[str, Any]:
    """The body that makes a cue, or changes the one that is there. Raises FieldProblems."""
    body = cue_fields.body_of(values, changes=cue is not None)
    if cue is not None and cue["payload"] == body["payload"]:
        del body["payload"]  # As it stands: its numbers are those that were stored.
    if cue is not None and "at" in body["schedule"] and cue["schedule"].get("at") == body["schedule"]["at"]:
        del body["schedule"]["at"]  # As it was asked for: where that was a time of day, it stays one.
    return body
