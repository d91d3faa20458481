"""All cues that match a filter of their list: an operation pauses, resumes or deletes them, after a look."""

from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard import bulk_forms
from cueapi.dashboard.contract import Contract
from cueapi.dashboard.cues import PATH, read_status
from cueapi.dashboard.forms import Form
from cueapi.dashboard.paths import asked_for, with_query
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.domain.bulk import MOST_IDS
from cueapi.domain.errors import Refusal
from cueapi.storage.dashboard import cues
from cueapi.storage.dashboard.cues import CueSearch
from cueapi.storage.dashboard.reading import PageReader, TooSlow

VERBS = {"pause": "Pause", "resume": "Resume", "delete": "Delete"}
MEANT = {"pause": "active", "resume": "paused"}
"""The status of the cues that an operation can do something to."""

NARROW = f"More than {MOST_IDS:,} cues match: choose a status or a group without a name, or a longer part of a name."


@frozen
class BulkCues:
    """`/ui/cues/all`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    reader: PageReader

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("bulk_cues", __name__, url_prefix="/cues/all")
        routes.get("")(self.look)
        routes.post("")(self.begin)
        return routes

    async def look(self) -> Response:
        """How many match, and some of them: nothing is done before the number is confirmed."""
        session = await self.sessions.require()
        given = asked_for(("q", "status", "group"))
        kind = _kind(asked_for(("do",))["do"])
        status = read_status(given["status"]) or MEANT.get(kind)
        wanted = CueSearch(session.user, given["q"][:255] or None, status, group=given["group"][:63] or None)
        back = with_query(PATH, **given)
        if kind in MEANT and status != MEANT[kind]:
            return self._nothing(back, kind)
        try:
            scope = await self._scope(wanted)
            executions = await cues.executions_of(self.reader, wanted) if kind == "delete" else 0
        except TooSlow:
            return self.pages.render("too_slow", session, 503, advice="Choose a status or a group without a name.")
        if scope is None:
            return self.pages.back(back, NARROW)
        if scope == {"ids": []}:
            return self._nothing(back, kind)
        answer = await bulk_forms.look(self.contract, session, {"kind": kind} | scope)
        if not answer.body["matched"]:
            return self._nothing(back, kind)
        return self.pages.render(
            "cues_all", session, kind=kind, verb=VERBS[kind], found=answer.body, back=back, rate=bulk_forms.RATE,
            words=_words(wanted), fields=[("do", kind), *_fields(scope).items()], executions=executions,
            nonce=token_hex(16),
        )  # fmt: skip

    def _nothing(self, back: str, kind: str) -> Response:
        which = f" is {MEANT[kind]}" if kind in MEANT else " matches"
        return self.pages.back(back, f"None of these cues{which}, so nothing was done.")

    async def _scope(self, wanted: CueSearch) -> dict[str, Any] | None:
        """What the contract is asked to work on: a filter that it knows, else ids; None where these are too many."""
        if wanted.text is None and (wanted.status or wanted.group):
            chosen = {"status": wanted.status, "group": wanted.group}
            return {"filter": {name: value for name, value in chosen.items() if value}}
        ids = await cues.ids_of(self.reader, wanted, MOST_IDS + 1)
        return {"ids": ids} if len(ids) <= MOST_IDS else None

    async def begin(self) -> Response:
        """Begin what was looked at; a second click of the same page begins none again."""
        session, form = await self.sessions.require_post()
        kind = _kind(form.text("do"))
        body = {"kind": kind} | _asked(form)
        return self.pages.see_other(await bulk_forms.begin(self.contract, session, form, body))


def _kind(text: str) -> str:
    if text not in VERBS:
        raise Refusal("invalid_filter", f"All cues that match can be done one of these: {', '.join(VERBS)}.")
    return text


def _words(wanted: CueSearch) -> str:
    """Which cues are meant, in words that follow "Those"."""
    parts = [f"whose name has “{wanted.text}” in it"] if wanted.text else []
    parts += [f"that are {wanted.status}"] if wanted.status else []
    parts += [f"of the group {wanted.group}"] if wanted.group else []
    return ", ".join(parts) or "of the account, all of them"


def _fields(scope: dict[str, Any]) -> dict[str, str]:
    """The fields that say which are meant, for the form: a form has room for a thousand ids in one field alone."""
    return {"ids": " ".join(scope["ids"])} if "ids" in scope else dict(scope["filter"])


def _asked(form: Form) -> dict[str, Any]:
    """Which are meant, as `_fields` has written it."""
    bulk_forms.refuse_unknown(form, ("do", "ids", "status", "group"))
    if form.has("ids"):
        return {"ids": form.text("ids").split()}
    return {"filter": {name: form.text(name) for name in ("status", "group") if form.text(name)}}
