"""The audit as it is read. Its rows are written by the statements of the changes, through `write_audit`."""

from datetime import datetime
from typing import LiteralString, TypeAlias

from attrs import frozen

from cueapi.storage.database import Executor, Row
from cueapi.storage.paging import PLACES, conditions, size_for


class AuditRow(Row):
    """Who did what to what, and why; *changes* is JSON."""

    id: int
    at: datetime
    actor_kind: str
    actor_id: str | None
    actor_name: str | None
    action: str
    subject_kind: str
    subject_id: str | None
    subject_name: str | None
    changes: str
    reason: str | None
    request_id: str | None
    address: str | None


Behind: TypeAlias = tuple[datetime, int]
"""The moment and the id of the row behind which a page goes on."""


@frozen
class AuditFilter:
    """Which rows of a user; None leaves a condition out."""

    user: int
    subject: str | None = None
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    behind: Behind | None = None


COLUMNS: LiteralString = """
a.id, a.at, a.actor_kind, a.actor_id, a.actor_name, a.action, a.subject_kind, a.subject_id, a.subject_name, a.changes,
a.reason, a.request_id, a.address
"""

AUDIT: LiteralString = "select " + COLUMNS + " from audit a"


@frozen
class AuditPage:
    """The rows of a page, and whether there are more."""

    rows: list[AuditRow]
    more: bool


async def page(db: Executor, wanted: AuditFilter, *, limit: int) -> AuditPage:
    """One page, newest first, ties by id."""
    where, values = conditions(
        [
            ("a.user_id = ?", wanted.user),
            ("a.subject_id = ?", wanted.subject),
            ("a.actor_id = ?", wanted.actor),
            ("a.action = ?", wanted.action),
            ("a.at >= ?", wanted.since),
            ("a.at < ?", wanted.until),
        ]
    )
    if wanted.behind is not None:
        moment, number = PLACES[len(values) : len(values) + 2]
        where += " and (a.at, a.id) < (" + moment + ", " + number + ")"
        values += wanted.behind
    rows = await db.fetch(
        AUDIT + " where " + where + " order by a.at desc, a.id desc" + size_for(limit), *values, row=AuditRow
    )
    return AuditPage(rows[:limit], len(rows) > limit)
