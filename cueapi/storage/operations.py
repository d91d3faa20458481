"""
Operations on many at once: begun, shown, cancelled; and moved on, a batch a transaction.

The batch under way holds the lock of its operation's row, so that any daemon may do the next one. Its work and the
cursor behind it are one transaction: a daemon that is killed has done both, or neither.
"""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.audit import Act
from cueapi.domain.bulk import AT_ONCE, Kind, Progress, SkipReason, rest_skipped
from cueapi.domain.ids import new_uuid7
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.keyset import KeysetPage, listed
from cueapi.storage.paging import conditions


class OperationRow(Row):
    """An operation as it is shown; *scope*, *act* and *skipped* are JSON."""

    id: UUID
    kind: str
    status: str
    scope: str
    rate: int
    act: str
    matched: int
    matched_capped: bool
    done: int
    failed: int
    skipped: str
    as_of: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(self.matched, self.done, self.failed, json.loads(self.skipped))


# What a backfill has made and came to nothing is taken from what it has done, also after it has ended. Of ids the
# number is shown.
COLUMNS: LiteralString = (
    "o.id, o.kind, o.status, case when o.scope -> 'ids' is null then o.scope"
    " else json_build_object('ids', json_array_length(o.scope -> 'ids')) end as scope, o.rate, o.act,"
    " o.matched, o.matched_capped, o.done - l.lost as done,"
    " o.failed + l.lost as failed, o.skipped, o.as_of, o.started_at, o.finished_at"
)
SOURCE: LiteralString = (
    "operations o cross join lateral (select count(*) filter (where x.failed) as lost"
    " from operation_executions x where x.operation_id = o.id and x.failed) l"
)


@frozen
class NewOperation:
    """What is to be done, to what, by whom, how fast, and how many it matches."""

    user: int
    kind: Kind
    scope: Mapping[str, Any]
    rate: int
    act: Act
    matched: int
    matched_capped: bool = False


ADD_OPERATION: LiteralString = (
    "with o as (insert into operations (id, user_id, kind, scope, rate, act, matched, matched_capped)"
    " values ($1, $2, $3, $4::json, $5, $6::json, $7, $8) returning *), "
    "audited as materialized (select write_audit($2, $6::json, 'operation.started', 'operation', o.id::text, o.kind,"
    " json_build_array(json_build_object('path', 'matched', 'from', null, 'to', o.matched))) as entry from o) "
    "select o.id, o.kind, o.status, o.scope, o.rate, o.act, o.matched, o.matched_capped, o.done, o.failed, o.skipped,"
    " o.as_of, o.started_at, o.finished_at from o join audited on true"
)


async def add(db: Executor, new: NewOperation) -> OperationRow:
    """The new operation, queued."""
    row = await db.fetch_one(
        ADD_OPERATION, new_uuid7(), new.user, new.kind, json.dumps(new.scope), new.rate, new.act.text(), new.matched,
        new.matched_capped, row=OperationRow,
    )  # fmt: skip
    assert row is not None
    return row


# Of one of these groups, as its filter says, or of a cue in one of them, as a backfill is.
OF_GROUPS: LiteralString = (
    "exists (select from unnest(?::text[]) g where o.scope #>> '{filter,group}' = g or exists"
    " (select from cues c where c.id = o.scope ->> 'cue_id' and c.user_id = o.user_id and c.group_name = g))"
)


OPERATION: LiteralString = "select " + COLUMNS + " from " + SOURCE


async def show(
    db: Executor, operation: UUID, *, user: int, groups: Collection[str] | None = None
) -> OperationRow | None:
    """One operation; None where it is not this user's, or of none of *groups*, where they are given."""
    where, values = conditions([("o.id = ?", operation), ("o.user_id = ?", user), (OF_GROUPS, _listed(groups))])
    return await db.fetch_one(OPERATION + " where " + where, *values, row=OperationRow)


def _listed(groups: Collection[str] | None) -> list[str] | None:
    return None if groups is None else list(groups)


@frozen
class OperationFilter:
    """Which operations of a user; None leaves a condition out."""

    user: int
    kind: str | None = None
    status: str | None = None
    groups: tuple[str, ...] | None = None
    """Those of a key that is limited to groups."""


async def page(db: Executor, wanted: OperationFilter, *, before: UUID | None, limit: int) -> KeysetPage[OperationRow]:
    """One page of operations, newest first."""
    where, values = conditions(
        [
            ("o.user_id = ?", wanted.user),
            ("o.kind = ?", wanted.kind),
            ("o.status = ?", wanted.status),
            (OF_GROUPS, _listed(wanted.groups)),
        ]
    )
    return await listed(
        db, row=OperationRow, columns=COLUMNS, source=SOURCE, where=where, values=values, key="o.id", before=before,
        limit=limit,
    )  # fmt: skip


class LockedOperation(OperationRow):
    """An operation whose row is ours until the transaction ends, with what its work needs."""

    user_id: int
    plan: str
    is_revoked: bool
    cursor: str | None
    now: datetime


def is_forced(operation: LockedOperation) -> bool:
    """Whether the operation fires although its account is held."""
    return bool(json.loads(operation.scope).get("forced"))


LOCKED: LiteralString = (
    "select o.id, o.kind, o.status, o.scope, o.rate, o.act, o.matched, o.matched_capped, o.done, o.failed, o.skipped,"
    " o.as_of, o.started_at, o.finished_at, o.user_id, u.plan, u.revoked_at is not null as is_revoked, o.cursor, now()"
    " from operations o join users u on u.id = o.user_id where o.id = $1 and o.finished_at is null"
)
# Between two batches lies a second at most: what is due later was written before the clock was set back.
DUE: LiteralString = "(o.next_at <= now() or o.next_at > now() + interval '5 seconds')"
LOCK_OPERATION: LiteralString = LOCKED + " and " + DUE + " for no key update of o skip locked"


async def lock(db: Executor, operation: UUID) -> LockedOperation | None:
    """An operation whose next batch may begin; None where another daemon works on it, or it has ended."""
    return await db.fetch_one(LOCK_OPERATION, operation, row=LockedOperation)


LOCK_TO_CANCEL: LiteralString = LOCKED + " and o.user_id = $2 for no key update of o"


async def cancel(db: Executor, operation: UUID, *, user: int, act: Act) -> bool:
    """End an operation within a transaction, after the batch under way; False where there is none that runs."""
    row = await db.fetch_one(LOCK_TO_CANCEL, operation, user, row=LockedOperation)
    if row is None:
        return False
    await finish(db, row, "cancelled", rest_skipped(row.progress, SkipReason.CANCELLED))
    await db.execute(CANCELLED, user, act.text(), str(operation), row.kind)
    return True


CANCELLED = "select write_audit($1, $2::json, 'operation.cancelled', 'operation', $3, $4)"

LOCK_ACCOUNT = "select id from users where id = $1 for no key update"
BEGIN = """
update operations
   set status = 'running', started_at = coalesce(started_at, now())
 where id = $1
   and (select count(*) from operations where user_id = $2 and status = 'running') < $3
"""


async def begin(db: Executor, operation: UUID, *, user: int) -> bool:
    """Have a queued operation run; False where its account has as many as run at once. Daemons ask one at a time."""
    await db.execute(LOCK_ACCOUNT, user)
    return await db.execute(BEGIN, operation, user, AT_ONCE) > 0


# At most a second is caught up with: after a standstill an operation goes on at its rate.
ADVANCE = """
update operations
   set cursor = $2, matched = $3, done = $4, failed = $5, skipped = $6::json,
       next_at = least(greatest(next_at, now() - interval '1 second'), now()) + $7::float8 * interval '1 second'
 where id = $1
"""


async def advance(db: Executor, operation: UUID, *, cursor: str | None, progress: Progress, pause: float) -> None:
    """Store where the next batch goes on, *pause* seconds after this one was due."""
    await db.execute(ADVANCE, operation, cursor, *_numbers(progress), pause)


# Its place among those that run at once is free for others meanwhile.
PUT_OFF = """
update operations
   set status = 'queued', next_at = now() + $2::float8 * interval '1 second'
 where id = $1
   and finished_at is null
"""


async def put_off(db: Executor, operation: UUID, pause: float) -> None:
    """Queue an operation again, whose next batch may begin *pause* seconds from now."""
    await db.execute(PUT_OFF, operation, pause)


FINISH = """
update operations
   set matched = $2, done = $3, failed = $4, skipped = $5::json, status = $6::text, finished_at = now(),
       started_at = coalesce(started_at, case when $6::text <> 'cancelled' then now() end)
 where id = $1
"""


async def finish(db: Executor, row: LockedOperation, status: str, progress: Progress) -> None:
    """End an operation, whose row the transaction has locked."""
    await db.execute(FINISH, row.id, *_numbers(progress), status)


def _numbers(progress: Progress) -> tuple[int, int, int, str]:
    return progress.matched, progress.done, progress.failed, json.dumps(dict(progress.skipped))


class DueOperation(Row):
    """An operation whose next batch may begin."""

    id: UUID


DUE_OPERATIONS: LiteralString = (
    """
select o.id
  from operations o
 where o.status in ('queued', 'running')
   and """
    + DUE
    + """
   and (o.status = 'running'
        or (select count(*) from operations r where r.user_id = o.user_id and r.status = 'running') < $1)
 order by o.next_at
 limit 20
"""
)


async def due(db: Executor) -> list[UUID]:
    """Operations whose next batch may begin, those first that have waited longest."""
    return [row.id for row in await db.fetch(DUE_OPERATIONS, AT_ONCE, row=DueOperation)]


NEXT_OPERATION = """
select extract(epoch from next_at - clock_timestamp())::float8
  from operations
 where status in ('queued', 'running') and next_at > now()
 order by next_at
 limit 1
"""


async def ahead(db: Executor) -> float | None:
    """In how many seconds the next batch is due; None where none is, or one is due now."""
    return await fetch_value(db, NEXT_OPERATION, kind=float)
