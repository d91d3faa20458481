"""A backfill of a cue: two moments, a look at the times that lie between them, and the operation."""

from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard import bulk_forms
from cueapi.dashboard.contract import Contract
from cueapi.dashboard.forms import Form
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.domain.ids import is_cue_id

FIELDS = ("from", "to")


@frozen
class BackfillPage:
    """`/ui/cues/ID/backfill`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("backfills", __name__, url_prefix="/cues/<cue_id>/backfill")
        routes.get("")(self.show)
        routes.post("/look")(self.look)
        routes.post("/begin")(self.begin)
        return routes

    async def show(self, cue_id: str) -> Response:
        """The form."""
        session = await self.sessions.require()
        return await self._page(session, cue_id, {"from": "", "to": ""}, only_missing=True)

    async def look(self, cue_id: str) -> Response:
        """How many times lie there, and the first of them; refusals stand beside their fields."""
        session, form = await self.sessions.require_post()
        body = _asked(cue_id, form) | {"dry_run": True}
        answer = await self.contract.call(session, "POST", "/v1/operations", body)
        given = {name: form.text(name) for name in FIELDS}
        only_missing = form.has("only_missing")
        if answer.status == 422:
            problems = answer.fields or {"to": answer.message}
            return await self._page(session, cue_id, given, only_missing=only_missing, status=422, problems=problems)
        answer.require()
        return await self._page(session, cue_id, given, only_missing=only_missing, found=answer.body)

    async def begin(self, cue_id: str) -> Response:
        """Begin what was looked at; a second click of the same page begins none again."""
        session, form = await self.sessions.require_post()
        return self.pages.see_other(await bulk_forms.begin(self.contract, session, form, _asked(cue_id, form)))

    async def _page(
        self,
        session: BrowserSession,
        cue_id: str,
        given: dict[str, str],
        *,
        status: int = 200,
        **values: Any,  # noqa: ANN401 (what was found)
    ) -> Response:
        answer = await self.contract.call(session, "GET", f"/v1/cues/{cue_id if is_cue_id(cue_id) else '-'}")
        answer.require()
        return self.pages.render(
            "backfill", session, status, cue=answer.body, path=f"/ui/cues/{cue_id}", given=given, nonce=token_hex(16),
            **{"found": None, "problems": {}, **values},
        )  # fmt: skip


def _asked(cue_id: str, form: Form) -> dict[str, Any]:
    bulk_forms.refuse_unknown(form, ("only_missing", *FIELDS))
    body = {"kind": "backfill", "cue_id": cue_id, "only_missing": form.has("only_missing")}
    return body | {name: form.text(name) or None for name in FIELDS}
