"""Incidents: list, acknowledge, snooze, resolve."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act
from cueapi.api.http.body import read
from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.identities import identity_in
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Choice, Pattern, Text, page_limit
from cueapi.api.models import values
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.incidents import AcknowledgeBody, ResolveBody, SnoozeBody
from cueapi.api.models.responses import incidents as responses
from cueapi.domain.clock import parse_moment
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.incident import IncidentKind, IncidentStatus
from cueapi.storage import incidents
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.incidents import IncidentFilter, IncidentRow
from cueapi.wakeups.hub import WakeupHub

STATUS = Choice("status", "Only incidents in this status.", IncidentStatus)
KIND = Choice("kind", "Only incidents of this kind.", IncidentKind)
CUE = Text("cue_id", "Only incidents of this cue.", names_one=True)
GROUP = Pattern("group", "Only incidents of the cues of this group.", values.GROUP, names_one=True)
LIMIT = page_limit(20)
FURTHEST = timedelta(days=366)


@frozen
class Incidents:
    """`/v1/incidents`."""

    database: Database
    clock: Clock
    hub: WakeupHub

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("incidents", __name__, url_prefix="/v1/incidents")
        routes.get("")(self.list)
        routes.get("/<incident_id>")(self.show)
        routes.post("/<incident_id>/acknowledge")(self.acknowledge)
        routes.post("/<incident_id>/snooze")(self.snooze)
        routes.post("/<incident_id>/resolve")(self.resolve)
        return routes

    @operation(
        responses.IncidentList,
        parameters=(STATUS, KIND, CUE, GROUP, LIMIT, CURSOR),
        refuses=("invalid_filter",),
        scope="read",
        in_groups=True,
    )
    async def list(self) -> Response:
        """List incidents, newest first."""
        groups = g.account.grant.groups
        wanted = IncidentFilter(g.account.id, STATUS.read(), KIND.read(), CUE.read(), GROUP.read(), groups)
        cursor = Cursor.over(status=wanted.status, kind=wanted.kind, cue=wanted.cue, group=wanted.group)
        page = await incidents.page(self.database, wanted, before=cursor.read(), limit=LIMIT.read())
        last = page.rows[-1] if page.more else None
        shown = {
            "incidents": [responses.Incident.render(row) for row in page.rows],
            "has_more": page.more,
            "next_cursor": last and cursor.write(last.opened_at, last.id),
        }
        return answer(shown)

    @operation(responses.Incident, refuses=("incident_not_found",), scope="read")
    async def show(self, incident_id: str) -> Response:
        """Show an incident."""
        return answer(responses.Incident.render(await self._find(incident_id)))

    @operation(
        responses.Incident,
        body=AcknowledgeBody,
        parameters=(REASON,),
        refuses=("incident_not_found", "invalid_state"),
        scope="write",
    )
    async def acknowledge(self, incident_id: str) -> Response:
        """
        Acknowledge an incident.

        It stays open, and no reminder of it is sent any more.
        """
        body = await read(AcknowledgeBody)
        row = await incidents.acknowledge(
            self.database, incident=identity_of(incident_id), user=g.account.id, note=body.note,
            act=act(body.reason).text(),
        )  # fmt: skip
        return await self._changed(incident_id, row)

    @operation(
        responses.Incident,
        body=SnoozeBody,
        parameters=(REASON,),
        refuses=("incident_not_found", "invalid_state"),
        scope="write",
    )
    async def snooze(self, incident_id: str) -> Response:
        """
        Snooze an incident.

        No reminder of it is sent until then. What still fails then is open again; its end is told at any time.
        """
        body = await read(SnoozeBody)
        until = await self._until(body)
        row = await incidents.snooze(
            self.database, incident=identity_of(incident_id), user=g.account.id, until=until,
            act=act(body.reason).text(),
        )  # fmt: skip
        return await self._changed(incident_id, row)

    @operation(
        responses.Incident,
        body=ResolveBody,
        parameters=(REASON,),
        refuses=("incident_not_found", "invalid_state"),
        scope="write",
    )
    async def resolve(self, incident_id: str) -> Response:
        """
        Resolve an incident.

        What happens again opens another one.
        """
        why, identity = act((await read(ResolveBody)).reason), identity_of(incident_id)
        if why.reason is None or not why.reason.strip():
            raise Invalid(Problem("body.reason", "say why it is over"))
        ended = await incidents.resolve(
            self.database, incident=identity, user=g.account.id, why=why.reason, act=why.text()
        )
        self.hub.notice_ready()
        return await self._changed(incident_id, await self._find(incident_id) if ended else None)

    async def _until(self, body: SnoozeBody) -> datetime:
        if (body.until is None) == (body.minutes is None):
            raise Invalid(Problem("body.until", "give until, or minutes, and not both"))
        if body.minutes is not None:
            return await self.clock.present(self.database) + timedelta(minutes=body.minutes)
        return await self.clock.decide(self.database, partial(future, body.until or ""))

    async def _find(self, incident_id: str) -> IncidentRow:
        row = await incidents.show(self.database, incident=identity_of(incident_id), user=g.account.id)
        if row is None:
            raise not_found()
        return row

    async def _changed(self, incident_id: str, row: IncidentRow | None) -> Response:
        """The incident as it is now; refused where it had ended before, or is not there."""
        if row is None:
            await self._find(incident_id)
            raise Refusal("invalid_state", "This incident is over.")
        return answer(responses.Incident.render(row))


def future(text: str, now: datetime) -> datetime:
    """The moment in a body's `until`; refuses one that is not within the year to come."""
    try:
        moment = parse_moment(text)
    except ValueError:
        raise Invalid(Problem("body.until", "must be an ISO 8601 moment, for example 2026-01-01T00:00:00Z")) from None
    if not now < moment <= now + FURTHEST:
        raise Invalid(
            Problem("body.until", f"must be in the future, within a year; now it is {now:%Y-%m-%dT%H:%M:%SZ}")
        )
    return moment


def identity_of(text: str) -> UUID:
    """The id in a path; what is none is not found."""
    return identity_in(text, not_found())


def not_found() -> Refusal:
    """The refusal of an id that is no incident of this user."""
    return Refusal("incident_not_found", "There is no such incident.")
