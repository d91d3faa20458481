"""Incidents as they are listed and looked after. They are opened and ended where executions are decided."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import PLACES, conditions, size_for
from cueapi.storage.statements import load


class IncidentRow(Row):
    """An incident as it is shown."""

    id: UUID
    kind: str
    subject_kind: str
    subject: str
    name: str
    severity: str
    status: str
    title: str
    cue_id: str | None
    opened_at: datetime
    acknowledged_at: datetime | None
    note: str | None
    snoozed_until: datetime | None
    resolved_at: datetime | None
    resolution: str | None
    events: int
    first_execution_id: UUID | None
    last_execution_id: UUID | None
    resolved_by_execution_id: UUID | None


COLUMNS: LiteralString = """
i.id, i.kind, subject_kind(i.kind, i.subject) as subject_kind, i.subject, i.name, i.severity,
incident_status(i.resolved_at, i.snoozed_until) as status, i.title, i.cue_id, i.opened_at, i.acknowledged_at, i.note,
case when i.snoozed_until > now() then i.snoozed_until end as snoozed_until, i.resolved_at, i.resolution, i.events,
i.first_execution_id, i.last_execution_id, i.resolved_by_execution_id
"""

INCIDENTS: LiteralString = "select " + COLUMNS + " from incidents i"

# What was snoozed is open again at the end of its time.
_STATUS: dict[str, LiteralString] = {
    "open": "i.resolved_at is null and (i.snoozed_until is null or i.snoozed_until <= now())",
    "snoozed": "i.resolved_at is null and i.snoozed_until > now()",
    "resolved": "i.resolved_at is not null",
}


@frozen
class IncidentFilter:
    """Which incidents of a user; None leaves a condition out. *groups* are those that the key is limited to."""

    user: int
    status: str | None = None
    kind: str | None = None
    cue: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None


@frozen
class IncidentPage:
    """Incidents of a page, and whether there are more."""

    rows: list[IncidentRow]
    more: bool


OF_GROUPS: LiteralString = "incident_group(i) = any (?::text[])"


async def page(
    db: Executor, wanted: IncidentFilter, *, before: tuple[datetime, UUID] | None, limit: int
) -> IncidentPage:
    """One page of incidents, newest first, ties by id."""
    where, values = conditions(
        [
            ("i.user_id = ?", wanted.user),
            ("i.kind = ?", wanted.kind),
            ("i.cue_id = ?", wanted.cue),
            (OF_GROUPS, wanted.group and [wanted.group]),
            (OF_GROUPS, wanted.groups and list(wanted.groups)),
        ]
    )
    if wanted.status is not None:
        where += " and " + _STATUS[wanted.status]
    if before is not None:
        where += " and (i.opened_at, i.id) < (" + PLACES[len(values)] + ", " + PLACES[len(values) + 1] + ")"
        values += before
    rest = " where " + where + " order by i.opened_at desc, i.id desc" + size_for(limit)
    rows = await db.fetch(INCIDENTS + rest, *values, row=IncidentRow)
    return IncidentPage(rows[:limit], len(rows) > limit)


SHOW = "select " + COLUMNS + " from incidents i where i.id = $1 and i.user_id = $2"


async def show(db: Executor, *, incident: UUID, user: int) -> IncidentRow | None:
    """One incident; None where it is not this user's."""
    return await db.fetch_one(SHOW, incident, user, row=IncidentRow)


# $3 what is said of it, $4 the act. No reminder comes of what is looked after.
ACKNOWLEDGE = (
    """
with i as (
    update incidents
       set acknowledged_at = coalesce(acknowledged_at, now()), note = coalesce($3, note), remind_at = null
     where id = $1 and user_id = $2 and resolved_at is null
 returning *
), audited as (
    select write_audit(user_id, $4::json, 'incident.acknowledged', 'incident', id::text, title) from i
)
select """
    + COLUMNS
    + " from i, (select count(*) from audited) a"
)


async def acknowledge(db: Executor, *, incident: UUID, user: int, note: str | None, act: str) -> IncidentRow | None:
    """Note that it is looked after; None where it is not this user's, or has ended."""
    return await db.fetch_one(ACKNOWLEDGE, incident, user, note, act, row=IncidentRow)


# $3 until when, $4 the act. A reminder that is asked for comes no earlier.
SNOOZE = (
    """
with before as materialized (
    select snoozed_until from incidents where id = $1 and user_id = $2 and resolved_at is null for no key update
), i as (
    update incidents
       set snoozed_until = $3::timestamptz,
           -- One that an earlier snooze has put off comes at the end of this one.
           remind_at = case when remind_at is null then null
                            when snoozed_until >= remind_at then $3::timestamptz
                            else greatest(remind_at, $3::timestamptz) end
     where id = $1 and user_id = $2 and resolved_at is null
       and (select count(*) from before) > 0
 returning *
), audited as (
    select write_audit(user_id, $4::json, 'incident.snoozed', 'incident', id::text, title,
                       json_build_array(json_build_object('path', 'snoozed_until', 'from', iso(b.snoozed_until),
                                                          'to', iso($3::timestamptz))))
      from i, before b
)
select """
    + COLUMNS
    + " from i, (select count(*) from audited) a"
)


async def snooze(db: Executor, *, incident: UUID, user: int, until: datetime, act: str) -> IncidentRow | None:
    """Have no reminder of it until then; None where it is not this user's, or has ended."""
    return await db.fetch_one(SNOOZE, incident, user, until, act, row=IncidentRow)


# $3 why, $4 the act.
RESOLVE = """
with ended as (
    select resolve_incident(user_id, kind, subject, $3) as id, title
      from (select * from incidents where id = $1 and user_id = $2 and resolved_at is null for update) i
)
select id, write_audit($2, $4::json, 'incident.resolved', 'incident', id::text, title) as audit
  from ended
 where id = $1
"""


class EndedIncident(Row):
    """An incident that was ended, and what the audit calls that."""

    id: UUID
    audit: int


async def resolve(db: Executor, *, incident: UUID, user: int, why: str, act: str) -> bool:
    """End it by hand; False where it is not this user's, or has ended."""
    return await db.fetch_one(RESOLVE, incident, user, why, act, row=EndedIncident) is not None


TEND = load("tend_incidents")


class TendedIncidents(Row):
    """Whose incidents have ended, or are told of again."""

    users: list[int] | None


async def tend(db: Executor) -> list[int]:
    """End those about workers that are back, or not needed any more, and write reminders; whose they are."""
    tended = await db.fetch_one(TEND, row=TendedIncidents)
    return [] if tended is None else tended.users or []
