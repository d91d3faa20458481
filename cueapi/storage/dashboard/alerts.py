"""Alerts: open ones first, then those that were acknowledged, each newest first."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.storage.database import Executor, Row

ROWS = 50
"""How many a page has."""


class AlertLine(Row):
    """An alert, and the name of its cue where that lives."""

    id: UUID
    cue_id: str | None
    cue_name: str | None
    execution_id: UUID | None
    alert_type: str
    severity: str
    message: str
    acknowledged: bool
    created_at: datetime


ALERTS: LiteralString = """
select a.id, a.cue_id, c.name as cue_name, a.execution_id, a.alert_type, a.severity, a.message, a.acknowledged,
       a.created_at
  from alerts a
  left join cues c on c.id = a.cue_id and c.deleted_at is null
"""

_OPEN: LiteralString = " where a.user_id = $1 and not a.acknowledged"
_SEEN: LiteralString = " where a.user_id = $1 and a.acknowledged"
_BEHIND: LiteralString = " and (a.created_at, a.id) < ($2, $3)"
_NEWEST: LiteralString = " order by a.created_at desc, a.id desc limit 51"


@frozen
class AlertCursor:
    """Behind which alert a page goes on."""

    acknowledged: bool
    created_at: datetime
    id: UUID


@frozen
class AlertPage:
    """The alerts of a page, and whether there are more."""

    alerts: list[AlertLine]
    has_more: bool


async def page(db: Executor, *, user: int, behind: AlertCursor | None = None) -> AlertPage:
    """One page of alerts: two statements where the open ones do not fill it."""
    place: tuple[object, ...] = () if behind is None else (behind.created_at, behind.id)
    found: list[AlertLine] = []
    if behind is None or not behind.acknowledged:
        rest = _OPEN + (_BEHIND if behind else "") + _NEWEST
        found += await db.fetch(ALERTS + rest, user, *place, row=AlertLine)
    if len(found) <= ROWS:
        goes_on = behind is not None and behind.acknowledged
        rest = _SEEN + (_BEHIND if goes_on else "") + _NEWEST
        found += await db.fetch(ALERTS + rest, user, *(place if goes_on else ()), row=AlertLine)
    return AlertPage(found[:ROWS], len(found) > ROWS)
