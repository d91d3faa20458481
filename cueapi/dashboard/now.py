"""The first page: did the agents do their work?"""

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen
from quart import Blueprint, Response, request

from cueapi.dashboard import charts
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sent_requests import contract_command
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.states import state_of
from cueapi.domain.errors import Refusal
from cueapi.domain.schedule_words import schedule_in_words
from cueapi.storage.dashboard import now as read_model
from cueapi.storage.dashboard.now import CueLine
from cueapi.storage.dashboard.reading import PageReader, TooSlow

FIRST_CUE = {
    "name": "hello",
    "schedule": {"type": "recurring", "cron": "0 9 * * *", "timezone": "UTC"},
    "callback": {"url": "https://example.com/hook"},
}


@frozen
class Sentence:
    """What is true of all cues: a sign, the part that is stressed, and the rest with the moment that it names."""

    sign: str
    stressed: str
    rest: str
    since: datetime | None = None


@frozen
class Now:
    """`/ui`."""

    pages: Rendering
    sessions: BrowserSessions

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("now", __name__)
        routes.get("")(self.show)
        return routes

    async def show(self) -> Response:
        """The page."""
        session = await self.sessions.require()
        name, wanted = _range()
        reader = PageReader(self.sessions.database)
        try:
            found = await read_model.read(reader, session.user, step=wanted.step, steps=wanted.steps)
        except TooSlow:
            return self.pages.render(
                "too_slow", session, 503, advice="The list of executions can be filtered: by a cue, or by a time."
            )
        now = found.cues[0].now
        lines = {kind: [line for line in found.cues if line.kind == kind] for kind in ("failing", "late", "next")}
        return self.pages.render(
            "now",
            session,
            sentence=sentence(found.cues[0], lines["failing"], lines["late"]),
            has_cues=found.cues[0].has_cues,
            has_incidents=found.cues[0].incidents > 0,
            failing=lines["failing"],
            late=lines["late"],
            next=lines["next"],
            running=[line for line in found.executions if line.kind == "running"],
            newest=[line for line in found.executions if line.kind == "newest"],
            strip=charts.strip(found.buckets, now, wanted),
            range=name,
            ranges=charts.RANGES,
            counts=found.cues[0],
            now=now,
            state_of=state_of,
            schedule=schedule,
            command=contract_command(self.sessions.base_url, "POST", "/v1/cues", FIRST_CUE),
        )


def _range() -> tuple[str, charts.Range]:
    """Of how long a time is told what has ended: the query says it."""
    name = request.args.get("range", "") or next(iter(charts.RANGES))
    if name not in charts.RANGES:
        raise Refusal("invalid_filter", f"There is no such range; there are {', '.join(charts.RANGES)}.")
    return name, charts.RANGES[name]


def schedule(cue: CueLine) -> str:
    """A schedule in words; a cron that was written in SQL, and that the grammar does not know, as it stands."""
    if cue.cron is None:
        return "once"
    try:
        return schedule_in_words(cue.cron, None, cue.timezone)
    except Refusal:
        return cue.cron


def sentence(counts: CueLine, failing: Sequence[CueLine], late: Sequence[CueLine]) -> Sentence:
    """The first line of the page: of incidents, where any is open."""
    if counts.incidents:
        return Sentence("failed", _open(counts), _and_late(len(late)), counts.open_since)
    if counts.failing:
        number = "More than 100" if counts.failing > 100 else f"{counts.failing:,}"
        since = min((line.since for line in failing if line.since is not None), default=None)
        stressed = f"{number} {'cue is' if counts.failing == 1 else 'cues are'} failing"
        return Sentence("failed", stressed, _and_late(len(late)), since)
    if late:
        return Sentence("missed", f"{_number(len(late))} late", "")
    if not counts.has_cues:
        return Sentence("unknown", "No cues yet", "")
    if not counts.live_cues:
        return Sentence("succeeded", "Nothing fails", ": no cue is left to fire")
    return Sentence("succeeded", _fine(counts.live_cues), "")


def _open(counts: CueLine) -> str:
    """How many incidents are open; where each is one of a failing cue, how many cues fail."""
    number = "More than 100" if counts.incidents > 100 else f"{counts.incidents:,}"
    one = counts.incidents == 1
    if counts.failing_incidents == counts.incidents:
        return f"{number} {'cue is' if one else 'cues are'} failing"
    return f"{number} {'incident is' if one else 'incidents are'} open"


def _fine(cues: int) -> str:
    return "Your cue is fine" if cues == 1 else "Both cues are fine" if cues == 2 else f"All {cues:,} cues are fine"


def _number(cues: int) -> str:
    return "1 cue is" if cues == 1 else f"{cues} cues are"


def _and_late(late: int) -> str:
    return "" if not late else f", and {late} {'is' if late == 1 else 'are'} late"
