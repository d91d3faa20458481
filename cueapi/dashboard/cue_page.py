"""One cue: what it is, when it fires, what became of it, and what can be done."""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.actors import changed_by
from cueapi.dashboard.assertion_lines import lines_of
from cueapi.dashboard.contract import CONFIRMED, Contract, cue_path
from cueapi.dashboard.cue_history import cue_history, figures
from cueapi.dashboard.cue_states import cue_state, schedule_words
from cueapi.dashboard.cues import DONE, UNDONE, do
from cueapi.dashboard.forms import once
from cueapi.dashboard.rendering import Rendering, Undo
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.states import state_of
from cueapi.dashboard.texts import readable_json, typed_json
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id, parse_uuid
from cueapi.domain.zone import local_time
from cueapi.storage.dashboard import cues
from cueapi.storage.dashboard.cues import ShownCueRow
from cueapi.storage.dashboard.reading import PageReader

SHOWN_TIMES, SHOWN_EXECUTIONS = 10, 15

NO_PAYLOAD = "No payload was typed to take the place of the cue's; an empty one is {}."

NOTHING_TYPED = {"payload": "", "merge": "merge"}


@frozen
class RefusedAction:
    """What was asked of the page and refused: the status, why, and what was typed beside it."""

    status: int
    why: str
    typed: dict[str, str] = NOTHING_TYPED


NextTimes = Callable[[str, str, datetime, int], Awaitable[list[datetime]]]
"""The fire times of a cron in a zone, after a moment, so many."""


@frozen
class CueDetails:
    """`/ui/cues/{id}`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    reader: PageReader
    next_times: NextTimes

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("cue", __name__, url_prefix="/cues/<cue_id>")
        routes.get("")(self.show)
        routes.post("/fire")(self.fire)
        routes.post("/replay")(self.replay)
        routes.post("/delete")(self.delete)
        routes.post("/<what>")(self.act)
        return routes

    async def show(self, cue_id: str) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), cue_id)

    async def act(self, cue_id: str, what: str) -> Response:
        """Pause the cue, or resume it."""
        session, _ = await self.sessions.require_post()
        if what not in UNDONE:
            raise _not_found()
        done = await do(self.contract, session, what, cue_id, {})
        if not done.ok:
            return await self._page(session, cue_id, RefusedAction(done.status, done.message))
        undo = Undo(UNDONE[what].capitalize(), f"/ui/cues/{cue_id}/{UNDONE[what]}")
        return self.pages.back(f"/ui/cues/{cue_id}", f"{DONE[what]} “{done.body['name']}”.", undo)

    async def fire(self, cue_id: str) -> Response:
        """Fire the cue now, with the payload of the form merged into its own or instead of it."""
        session, form = await self.sessions.require_post()
        typed = {"payload": form.whole_text("payload"), "merge": form.text("merge") or "merge"}
        body: dict[str, Any] = {}
        if not typed["payload"].strip() and typed["merge"] == "replace":
            return await self._page(session, cue_id, RefusedAction(422, NO_PAYLOAD, typed))
        if typed["payload"].strip():
            try:
                body = {"payload_override": typed_json(typed["payload"]), "merge_strategy": typed["merge"]}
            except ValueError as error:
                return await self._page(session, cue_id, RefusedAction(422, str(error), typed))
        done = await self.contract.call(session, "POST", f"{cue_path(cue_id)}/fire", body, once(form))
        if not done.ok:
            told = next(iter(done.fields.values()), done.message)
            return await self._page(session, cue_id, RefusedAction(done.status, told, typed))
        return self.pages.back(f"/ui/cues/{cue_id}", "Fired: the new execution is the first one below.")

    async def replay(self, cue_id: str) -> Response:
        """Replay an execution of the cue."""
        session, form = await self.sessions.require_post()
        path = f"/v1/executions/{parse_uuid(form.text('execution'))}/replay"
        done = await self.contract.call(session, "POST", path, None, once(form))
        if not done.ok:
            return await self._page(session, cue_id, RefusedAction(done.status, done.message))
        return self.pages.back(f"/ui/cues/{cue_id}", "Replayed: the new execution is the first one below.")

    async def delete(self, cue_id: str) -> Response:
        """Delete the cue; the form has asked before."""
        session, _ = await self.sessions.require_post()
        row = await self._row(session, cue_id)
        done = await self.contract.call(session, "DELETE", cue_path(cue_id), None, CONFIRMED)
        if not done.ok:
            raise Refusal(done.code, done.message)
        return self.pages.back("/ui/cues", f"Deleted “{row.name}”.")

    async def _row(self, session: BrowserSession, cue_id: str) -> ShownCueRow:
        found = await cues.show(self.reader, cue_id=cue_id, user=session.user) if is_cue_id(cue_id) else None
        if found is None:
            raise _not_found()
        return found[0]

    async def _page(self, session: BrowserSession, cue_id: str, refused: RefusedAction | None = None) -> Response:
        """The page; what was refused is told beside what was typed, else at the top, below the buttons."""
        found = await cues.show(self.reader, cue_id=cue_id, user=session.user) if is_cue_id(cue_id) else None
        if found is None:
            raise _not_found()
        cue, newest = found
        ended = next((line for line in newest if line.finished_at is not None), None)
        return self.pages.render(
            "cue", session, 200 if refused is None else refused.status, cue=cue, words=schedule_words(cue),
            state=cue_state(cue, newest), history=cue_history(newest, cue.now), figures=figures(newest),
            lines=[{"execution": one, "state": state_of(one)} for one in newest[:SHOWN_EXECUTIONS]],
            has_more=len(newest) > SHOWN_EXECUTIONS, last=ended, times=await self._times(cue),
            payload=readable_json(cue.payload), nonce=token_hex(16),
            asserted=lines_of(json.loads(cue.assertions or "[]")),
            typed=NOTHING_TYPED if refused is None else refused.typed, problem=refused and refused.why,
            changed_by=changed_by,
        )  # fmt: skip

    async def _times(self, cue: ShownCueRow) -> list[tuple[datetime, datetime]]:
        """The next fire times, in UTC and in the cue's zone; those of a paused cue are those that it would have."""
        try:
            if cue.cron is not None:
                moments = await self.next_times(cue.cron, cue.timezone, cue.now, SHOWN_TIMES)
            else:
                moments = [one for one in (cue.schedule_at,) if one is not None and one > cue.now]
            return [(one, local_time(one, cue.timezone)) for one in moments]
        except Refusal:
            return []  # Its zone is not known any more; the words say so.


def _not_found() -> Refusal:
    return Refusal("cue_not_found", "There is no such cue.")
