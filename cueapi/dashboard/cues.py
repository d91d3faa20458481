"""The list of cues: how each stands, and what is done to one of them or to those that are selected."""

from datetime import datetime
from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard.contract import CONFIRMED, Contract, ContractAnswer, cue_path
from cueapi.dashboard.cue_history import cue_history
from cueapi.dashboard.cue_states import cue_state, schedule_words
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.paths import asked_for, with_query
from cueapi.dashboard.rendering import Rendering, Undo
from cueapi.dashboard.sent_requests import contract_command
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.sign_in import own_path
from cueapi.domain.clock import parse_moment
from cueapi.domain.cue import STATUSES
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id
from cueapi.storage.dashboard import cues
from cueapi.storage.dashboard.cues import CueCount, CueSearch, ListedCue, MarkedExecution
from cueapi.storage.dashboard.reading import PageReader, TooSlow

PATH = "/ui/cues"

FIRST_CUE = {"name": "morning-brief", "cron": "0 9 * * *", "callback_url": "https://your-agent.example.com/run"}

MOST_SELECTED = 100
"""Cues that one form acts on: as many as the contract deletes at once."""

DONE = {"pause": "Paused", "resume": "Resumed", "fire": "Fired", "delete": "Deleted"}
"""What can be done to cues, and what it is called afterwards."""

UNDONE = {"pause": "resume", "resume": "pause"}


@frozen
class CueList:
    """`/ui/cues`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    reader: PageReader

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("cues", __name__, url_prefix="/cues")
        routes.get("")(self.show)
        routes.post("/selected")(self.act)
        return routes

    async def show(self) -> Response:
        """One page of the list."""
        session = await self.sessions.require()
        # What cannot be is not left out in silence: the list would show more than was asked for.
        text, status, group, cursor = asked_for(("q", "status", "group", "cursor")).values()
        wanted = CueSearch(
            session.user, text[:255] or None, read_status(status), read_cursor(cursor) if cursor else None,
            group[:63] or None,
        )  # fmt: skip
        try:
            page = await cues.page(self.reader, wanted)
        except TooSlow:
            return self.pages.render(
                "too_slow", session, 503, advice="Filter the cues by a status, or by another name."
            )
        given = {"q": text, "status": status, "group": group}
        last = page.cues[-1] if page.has_more else None
        return self.pages.render(
            "cues", session, lines=[_line(cue, page.marks[cue.id]) for cue in page.cues], text=text, chosen=status,
            group=group, statuses=STATUSES, is_first=not cursor, first=with_query(PATH, **given),
            older=last and with_query(PATH, **given, cursor=write_cursor(last)), nonce=token_hex(16),
            of_all={what: with_query(f"{PATH}/all", do=what, **given) for what in _done_to_all(status)},
            back=request.full_path.rstrip("?"),
            command=contract_command(self.sessions.base_url, "POST", "/v1/cues", FIRST_CUE),
        )  # fmt: skip

    async def act(self) -> Response:
        """Do to the selected cues, or to the one whose button it was, what the button says."""
        session, form = await self.sessions.require_post()
        what, chosen = _chosen(form)
        found = await cues.named(self.reader, cue_ids=chosen, user=session.user)
        back = own_path(form.text("back") or PATH)
        if what not in DONE or not found:
            return self.pages.back(back, "Nothing was selected, so nothing was done.")
        if what == "delete" and not form.has("sure"):
            return self.pages.render(
                "delete_cues", session, cues=found, executions=sum(cue.fired_count for cue in found), back=back
            )
        refusals = await self._act_on(session, what, found, once(form))
        return self._done(what, found, refusals, back)

    async def _act_on(
        self, session: BrowserSession, what: str, found: list[CueCount], headers: dict[str, str]
    ) -> dict[str, ContractAnswer]:
        """The refusals of the contract, by the name of the cue."""
        if what == "delete":
            body = {"ids": [cue.id for cue in found]}
            answer = await self.contract.call(session, "POST", "/v1/cues/bulk-delete", body, CONFIRMED)
            return {} if answer.ok else {cue.name: answer for cue in found}
        answers = {cue.name: await do(self.contract, session, what, cue.id, headers) for cue in found}
        return {name: answer for name, answer in answers.items() if not answer.ok}

    def _done(self, what: str, found: list[CueCount], refusals: dict[str, ContractAnswer], back: str) -> Response:
        """Back to the list, with what was done and what was not."""
        done = [cue for cue in found if cue.name not in refusals]
        said = [f"{DONE[what]} {named(done)}."] if done else []
        refused: dict[str, list[CueCount]] = {}
        for cue in found:
            if cue.name in refusals:
                refused.setdefault(refusals[cue.name].message, []).append(cue)
        said += [f"Refused for {named(cues)}: {message}" for message, cues in refused.items()]
        undo = None
        if len(done) == 1 and what in UNDONE:
            undo = Undo(UNDONE[what].capitalize(), f"/ui/cues/{done[0].id}/{UNDONE[what]}")
        return self.pages.back(back, " ".join(said), undo)


async def do(
    contract: Contract, session: BrowserSession, what: str, cue_id: str, headers: dict[str, str]
) -> ContractAnswer:
    """Pause, resume or fire a cue; *headers* make a second click on the same page harmless."""
    if what == "fire":
        return await contract.call(session, "POST", f"{cue_path(cue_id)}/fire", {}, headers)
    status = "paused" if what == "pause" else "active"
    return await contract.call(session, "PATCH", cue_path(cue_id), {"status": status})


def named(cues: list[CueCount]) -> str:
    """One cue by its name, several by their number."""
    return f"“{cues[0].name}”" if len(cues) == 1 else f"{len(cues)} cues"


def read_status(text: str) -> str | None:
    """The status that a query names; None where it names none. Refuses one that there is not."""
    if text and text not in STATUSES:
        raise Refusal("invalid_filter", f"A cue is {', '.join(STATUSES)}; not {text[:64]!r}.")
    return text or None


def _done_to_all(status: str) -> list[str]:
    """What can be done to all cues in a status, or in any."""
    return ["pause"] * (status in {"", "active"}) + ["resume"] * (status in {"", "paused"}) + ["delete"]


def write_cursor(cue: ListedCue) -> str:
    """The place behind *cue*, for a URL."""
    return f"{cue.created_at.isoformat()}~{cue.id}"


def read_cursor(text: str) -> tuple[datetime, str]:
    """The place that a URL names; refuses a damaged one."""
    moment, _, cue_id = text.partition("~")
    try:
        # A `+` in a query that was not escaped arrives as a blank.
        at = parse_moment(moment.replace(" ", "+"))
        if is_cue_id(cue_id):
            return at, cue_id
    except ValueError:
        pass
    raise Refusal("invalid_filter", "The link to this part of the list is damaged; begin at its first page.")


def _chosen(form: Form) -> tuple[str, list[str]]:
    """What is to be done, and to which cues: that of the row whose button was pressed, or the selected ones."""
    if form.has("one"):
        what, _, cue_id = form.text("one").partition(" ")
        chosen = [cue_id]
    else:
        what, chosen = form.text("do"), form.all("id")
    return what, [one for one in dict.fromkeys(chosen) if is_cue_id(one)][:MOST_SELECTED]


def _line(cue: ListedCue, marks: list[MarkedExecution]) -> dict[str, Any]:
    """A cue as the template shows it."""
    return {
        "cue": cue,
        "words": schedule_words(cue),
        "state": cue_state(cue, marks),
        "history": cue_history(marks, cue.now),
    }
