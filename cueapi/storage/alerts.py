"""Alerts as they are listed. They are raised where executions are decided (transitions.py)."""

from collections.abc import Collection
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import Page, conditions, paged


class AlertRow(Row):
    """An alert as it is listed; *metadata* is JSON."""

    id: UUID
    cue_id: str | None
    execution_id: UUID | None
    alert_type: str
    severity: str
    message: str
    metadata: str
    acknowledged: bool
    created_at: datetime
    incident_id: UUID | None


COLUMNS: LiteralString = """
a.id, a.cue_id, a.execution_id, a.alert_type, a.severity, a.message, a.metadata, a.acknowledged, a.created_at,
a.incident_id
"""


_IN_GROUPS: LiteralString = (
    "a.cue_id is not null and exists (select from cues g where g.id = a.cue_id and g.user_id = a.user_id"
    " and g.group_name = any (?::text[]))"
)


async def page(  # noqa: PLR0913 (one argument a filter)
    db: Executor,
    *,
    user: int,
    alert_type: str | None,
    since: datetime | None,
    acknowledged: bool | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
    offset: int,
    counted: bool = True,
    groups: Collection[str] | None = None,
) -> Page[AlertRow]:
    """
    One page of alerts, newest first; with their number unless they are not to be *counted*.

    *groups* are those that the key is limited to: then only alerts of their cues.
    """
    where, values = conditions(
        [
            ("a.user_id = ?", user),
            ("a.alert_type = ?", alert_type),
            ("a.created_at >= ?", since),
            ("a.acknowledged = ?", acknowledged),
            (_IN_GROUPS, groups and list(groups)),
        ]
    )
    return await paged(
        db, row=AlertRow, columns=COLUMNS, source="alerts a", where=where, values=values, alias="a", before=before,
        counted="" if counted else None, limit=limit, offset=offset,
    )  # fmt: skip


ACKNOWLEDGE = "update alerts a set acknowledged = true where a.id = $1 and a.user_id = $2 returning " + COLUMNS


async def acknowledge(db: Executor, *, alert: UUID, user: int) -> AlertRow | None:
    """Mark an alert as seen; None where it is not this user's."""
    return await db.fetch_one(ACKNOWLEDGE, alert, user, row=AlertRow)


class KnownAlert(Row):
    """The id of an alert that is the user's."""

    id: UUID


# $1 alerts, $2 their user, $3 groups that their cues are in; null: of any group, and of none. Locked in one order.
ACKNOWLEDGE_ALL = """
with named as materialized (
    select a.id, a.acknowledged
      from alerts a
     where a.id = any ($1::uuid[])
       and a.user_id = $2
       and ($3::text[] is null
            or exists (select from cues c
                        where c.id = a.cue_id and c.user_id = a.user_id and c.group_name = any ($3::text[])))
     order by a.id
       for no key update of a
), seen as (
    update alerts set acknowledged = true where id = any (array(select id from named where not acknowledged))
)
select id from named
"""


async def acknowledge_all(
    db: Executor, *, alerts: Collection[UUID], user: int, groups: Collection[str] | None
) -> set[UUID]:
    """Mark *alerts* as seen; which of them are this user's, and of cues in *groups* where these are given."""
    rows = await db.fetch(ACKNOWLEDGE_ALL, list(alerts), user, groups and list(groups), row=KnownAlert)
    return {row.id for row in rows}
