"""Cues: creating one schedules it, in one statement."""

import json
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cueapi.domain.cue import Callback, Cue, Schedule, payload_task
from cueapi.domain.retry import Retry
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.paging import Page, numbered, paged


class CueColumns:
    """The columns of a cue as it is shown; *callback_headers* and *payload* are JSON."""

    __slots__ = ()

    id: str
    name: str
    description: str | None
    status: str
    transport: str
    schedule_type: str
    cron: str | None
    schedule_at: datetime | None
    timezone: str
    catchup: str
    overlap: str
    callback_url: str | None
    callback_method: str
    callback_headers: str
    payload: str
    max_attempts: int
    backoff_minutes: list[int]
    on_failure_email: bool
    on_failure_webhook: str | None
    on_failure_pause: bool
    verification: str
    timeout_seconds: int | None
    outcome_deadline_seconds: int | None
    alert_consecutive_failures: int | None
    alert_missed_window_multiplier: int | None
    next_run: datetime | None
    last_run: datetime | None
    run_count: int
    fired_count: int
    created_at: datetime
    updated_at: datetime
    warning: str | None

    @property
    def on_failure(self) -> dict[str, Any]:
        """What follows the last failed attempt."""
        return {
            "email": self.on_failure_email,
            "webhook": self.on_failure_webhook,
            "pause": self.on_failure_pause,
        }

    @property
    def delivery(self) -> dict[str, int] | None:
        """The deadlines of the cue's own; None where it has none."""
        return _given(timeout_seconds=self.timeout_seconds, outcome_deadline_seconds=self.outcome_deadline_seconds)

    @property
    def alerts(self) -> dict[str, int] | None:
        """When its user wants alerts; None where the user said nothing of it."""
        return _given(
            consecutive_failures=self.alert_consecutive_failures,
            missed_window_multiplier=self.alert_missed_window_multiplier,
        )


def _given(**numbers: int | None) -> dict[str, int] | None:
    return {name: number for name, number in numbers.items() if number is not None} or None


class CueRow(CueColumns, Row):
    """A cue, and the revision that a change of it is fenced by."""

    revision: int


COLUMNS: LiteralString = """
c.id, c.name, c.description, c.status, c.transport, c.schedule_type, c.cron, c.schedule_at, c.timezone, c.catchup,
c.overlap, c.callback_url, c.callback_method, c.callback_headers, c.payload, c.max_attempts, c.backoff_minutes,
c.on_failure_email, c.on_failure_webhook, c.on_failure_pause, c.verification, c.timeout_seconds,
c.outcome_deadline_seconds, c.alert_consecutive_failures, c.alert_missed_window_multiplier, c.next_run, c.last_run,
c.run_count, c.fired_count, c.revision, c.created_at, c.updated_at,
case when c.transport = 'worker'
          and not exists (select from workers w
                           where w.user_id = c.user_id and w.last_heartbeat > now() - interval '180 seconds')
     then 'No worker is alive: executions wait until one sends a heartbeat and claims them.'
     else c.warning end as warning
"""


@frozen
class CueRecord:
    """A cue with what is stored beside it: the host that fairness counts by, the payload as text, a warning."""

    cue: Cue
    payload: str
    host: str | None
    warning: str | None


def _values(placed: CueRecord) -> list[object]:
    cue, schedule = placed.cue, placed.cue.schedule
    return [
        cue.name, cue.description, schedule.type, schedule.cron, schedule.at, schedule.timezone,
        str(schedule.catchup), str(schedule.overlap), cue.callback.url, cue.callback.method,
        json.dumps(cue.callback.headers), placed.host, placed.payload, payload_task(cue.payload),
        cue.retry.max_attempts, list(cue.retry.backoff_minutes),
        *map(cue.on_failure.get, ("email", "webhook", "pause")), str(cue.verification),
        *map((cue.delivery or {}).get, ("timeout_seconds", "outcome_deadline_seconds")),
        *map((cue.alerts or {}).get, ("consecutive_failures", "missed_window_multiplier")), placed.warning,
    ]  # fmt: skip


# $1 user, $2 the most active and paused cues. The user's row is locked first: of any number of creations at once
# no more succeed than there is room for. No row: no room.
ADD: LiteralString = (
    """
with room as (
    select id from users where id = $1 and revoked_at is null and live_cues < $2 for no key update
)
insert into cues as c (id, user_id, status, transport, next_run,
       name, description, schedule_type, cron, schedule_at, timezone, catchup, overlap, callback_url, callback_method,
       callback_headers, callback_host, payload, task, max_attempts, backoff_minutes, on_failure_email,
       on_failure_webhook, on_failure_pause, verification, timeout_seconds, outcome_deadline_seconds,
       alert_consecutive_failures, alert_missed_window_multiplier, warning)
select $3, room.id, 'active', $4, $5,
       $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20::smallint, $21, $22::bool, $23, $24::bool,
       $25, $26::int, $27::int, $28::smallint, $29::smallint, $30
  from room
returning """
    + COLUMNS
)


async def add(
    db: Executor, placed: CueRecord, *, cue_id: str, user: int, limit: int, next_run: datetime
) -> CueRow | None:
    """The new cue; None where the plan has no room. Raises Duplicate where its name is taken."""
    return await db.fetch_one(ADD, user, limit, cue_id, placed.cue.transport, next_run, *_values(placed), row=CueRow)


SHOW: LiteralString = "select " + COLUMNS + " from cues c where c.id = $1 and c.user_id = $2 and c.deleted_at is null"


async def show(db: Executor, *, cue_id: str, user: int) -> CueRow | None:
    """One cue; None where it is not this user's."""
    return await db.fetch_one(SHOW, cue_id, user, row=CueRow)


def to_cue(row: CueRow) -> Cue:
    """What the user of a cue has said of it."""
    return Cue(
        name=row.name,
        description=row.description,
        transport=row.transport,
        schedule=Schedule(
            row.schedule_type,
            row.timezone,
            row.cron,
            row.schedule_at,
            row.catchup,
            row.overlap,
        ),
        callback=Callback(row.callback_url, row.callback_method, json.loads(row.callback_headers)),
        payload=json.loads(row.payload),
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        on_failure=row.on_failure,
        verification=row.verification,
        delivery=row.delivery,
        alerts=row.alerts,
        status=row.status,
    )


async def page(
    db: Executor, *, user: int, status: str | None, name: str | None, limit: int, offset: int
) -> Page[CueRow]:
    """One page of cues, newest first, ties by id."""
    terms: list[tuple[LiteralString, object]] = [("c.user_id = ?", user)]
    if status is not None:
        terms.append(("c.status = ?", status))
    if name is not None:
        terms.append(("c.name = ?", name))
    where: LiteralString = numbered([term for term, _ in terms]) + " and c.deleted_at is null"
    return await paged(
        db, row=CueRow, columns=COLUMNS, source="cues c", where=where, values=[value for _, value in terms],
        alias="c", limit=limit, offset=offset,
    )  # fmt: skip


# $3 the revision that the change was made upon; $4 the room that a revived cue needs, null where it needs none.
# Waiting deliveries move to the new host with the cue: fairness counts by it. No host ($20): the old one.
CHANGE: LiteralString = (
    """
with room as (
    select id
      from users
     where id = $2 and revoked_at is null and ($4::int is null or live_cues < $4)
       for no key update
), changed as (
    update cues c
       set status = $5,
           next_run = case when $6 then $7 else c.next_run end,
           revision = c.revision + 1,
           updated_at = clock_timestamp(),
           consecutive_failures = case when $8 then 0 else c.consecutive_failures end,
           name = $9, description = $10, schedule_type = $11, cron = $12, schedule_at = $13, timezone = $14,
           catchup = $15, overlap = $16, callback_url = $17, callback_method = $18, callback_headers = $19,
           callback_host = coalesce($20, c.callback_host), payload = $21, task = $22, max_attempts = $23::smallint,
           backoff_minutes = $24, on_failure_email = $25, on_failure_webhook = $26, on_failure_pause = $27,
           verification = $28, timeout_seconds = $29, outcome_deadline_seconds = $30, alert_consecutive_failures = $31,
           alert_missed_window_multiplier = $32, warning = $33
      from room
     where c.id = $1
       and c.user_id = room.id
       and c.revision = $3
       and c.deleted_at is null
 returning """
    + COLUMNS
    + """
), requeued as (
    update outbox o set host = $20 from changed c where o.cue_id = c.id and o.host <> $20
)
select * from changed
"""
)


@frozen
class CueUpdate:
    """What a change was made upon, and what it makes of status and next run."""

    revision: int
    room: int | None
    status: str
    moves: bool
    next_run: datetime | None


async def change(db: Executor, placed: CueRecord, made: CueUpdate, *, cue_id: str, user: int) -> CueRow | None:
    """The changed cue; None where it has moved meanwhile or there is no room to revive it."""
    return await db.fetch_one(
        CHANGE, cue_id, user, made.revision, made.room, made.status, made.moves, made.next_run,
        made.room is not None, *_values(placed), row=CueRow,
    )  # fmt: skip


HAS_FIRED = (
    "select exists (select from executions where cue_id = $1 and triggered_by = 'scheduled' and scheduled_for = $2)"
)


async def has_fired(db: Executor, *, cue_id: str, at: datetime) -> bool:
    """True where that scheduled time of the cue has an execution."""
    return await fetch_value(db, HAS_FIRED, cue_id, at, kind=bool) is True


class DeletedCue(Row):
    """A cue that was there, and is deleted."""

    id: str


# Marked, invisible, its name free: at once, whatever the size of the history. Waiting deliveries are called off;
# a request under way is not cut. The rows go later, in batches.
DELETE = """
with gone as (
    update cues set deleted_at = now(), next_run = null, revision = revision + 1
     where id = any ($1::text[])
       and user_id = $2
       and deleted_at is null
 returning id
), called_off as (
    delete from outbox o using gone g where o.cue_id = g.id and o.claimed_by is null
)
select id from gone
"""


# Run again: a concurrent firing that the first statement waited for is not in its snapshot.
CALL_OFF = "delete from outbox where cue_id = any ($1::text[]) and claimed_by is null"


async def delete(db: Executor, *, cue_ids: list[str], user: int) -> list[str]:
    """Delete these cues; the ids of those that were there."""
    gone = [row.id for row in await db.fetch(DELETE, cue_ids, user, row=DeletedCue)]
    if gone:
        await db.execute(CALL_OFF, gone)
    return gone


class FiredExecution(Row):
    """An execution that a user asked for, and in how many seconds it may begin."""

    id: UUID
    cue_id: str
    transport: str
    scheduled_for: datetime
    status: str
    due_in: float


# Works in any status. $4 payload or null: the cue's own; $6 when to fire, or null: now; $9 executions a month: where
# the month is spent, the execution ends at once.
FIRE = """
with spent as materialized (
    select month_is_spent($2, $9) as is from cues where id = $1 and user_id = $2 and deleted_at is null
), fired as (
    update cues c
       set fired_count = c.fired_count + 1,
           run_count = c.run_count + (case when s.is then 1 else 0 end),
           last_run = case when $6::timestamptz is null then now() else c.last_run end
      from spent s
     where c.id = $1
       and c.user_id = $2
       and c.deleted_at is null
 returning c.id, c.user_id, c.transport, c.callback_host, c.payload, c.task, s.is as ends
), made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, replayed_from, scheduled_for, status,
                            ready_at, payload, task, finished_at, error_message)
    select $3, id, user_id, transport, $7, $8, coalesce($6, now()), case when ends then 'failed' else 'pending' end,
           coalesce($6, now()), coalesce($4::json, payload), case when $4 is null then task else $5 end,
           case when ends then now() end, case when ends then 'Monthly execution limit reached' end
      from fired
 returning id, cue_id, user_id, transport, scheduled_for, ready_at, status
), queued as (
    insert into outbox (execution_id, cue_id, user_id, host, ready_at)
    select m.id, m.cue_id, m.user_id, f.callback_host, m.ready_at
      from made m
      join fired f on f.id = m.cue_id
     where m.transport = 'webhook' and m.status = 'pending'
)
select id, cue_id, transport, scheduled_for, status, extract(epoch from ready_at - now())::float8 as due_in from made
"""


@frozen
class ManualFire:
    """An execution that a user asks for: its payload (None: the cue's), its time (None: now), what it repeats."""

    execution_id: UUID
    payload: str | None = None
    task: str | None = None
    at: datetime | None = None
    replayed_from: UUID | None = None


async def fire(db: Executor, *, cue_id: str, user: int, manual_fire: ManualFire, monthly: int) -> FiredExecution | None:
    """The new execution; None where the cue is not this user's. *monthly* is how many a month has."""
    origin = "manual_fire" if manual_fire.replayed_from is None else "replay"
    return await db.fetch_one(
        FIRE, cue_id, user, manual_fire.execution_id, manual_fire.payload, manual_fire.task, manual_fire.at, origin,
        manual_fire.replayed_from, monthly, row=FiredExecution,
    )  # fmt: skip


class ReplayableExecution(Row):
    """What a replay takes from the execution that it repeats; *payload* is JSON."""

    cue_id: str
    status: str
    payload: str
    task: str | None


REPLAYABLE = """
select e.cue_id, e.status, e.payload, e.task
  from executions e
  join cues c on c.id = e.cue_id and c.deleted_at is null
 where e.id = $1
   and e.user_id = $2
"""


async def replayable(db: Executor, *, execution: UUID, user: int) -> ReplayableExecution | None:
    """The execution that a replay repeats; None where it is not this user's, or its cue is deleted."""
    return await db.fetch_one(REPLAYABLE, execution, user, row=ReplayableExecution)
